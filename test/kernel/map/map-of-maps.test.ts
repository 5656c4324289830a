import { describe, expect, test } from "vitest";
import {
  AssembleError,
  add,
  call,
  exit,
  jeq,
  lddw,
  ldxw,
  mapDef,
  mapFd,
  mov,
  mov32,
  r0,
  r1,
  r2,
  r10,
  stw,
  xdp,
} from "../../../src/asm/index.ts";
import { struct, u32 } from "../../../src/btf/layout/index.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import { BPF_NOEXIST } from "../../../src/uapi/bpf.ts";
import { bpf_map_lookup_elem } from "../../../src/uapi/helpers.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";

const sys = tracedSyscalls();
const flow = struct("flow", { packets: u32, bytes: u32 });
const flows = mapDef({ name: "flows", type: "hash", key: u32, value: flow, maxEntries: 8 });

describe.each(["array_of_maps", "hash_of_maps"] as const)("%s", (type) => {
  const tenants = mapDef({ name: "tenants", type, key: u32, value: u32, maxEntries: 4, inner: flows });

  /** `tenants[1][7].packets`, or 0. */
  const read = xdp("read", {
    entry: [
      stw([r10, -4], 1),
      lddw(r1, mapFd(tenants)),
      mov(r2, r10),
      add(r2, -4),
      call(bpf_map_lookup_elem),
      jeq(r0, 0, "out"),
      stw([r10, -4], 7),
      mov(r1, r0),
      mov(r2, r10),
      add(r2, -4),
      call(bpf_map_lookup_elem),
      jeq(r0, 0, "out"),
      ldxw(r0, [r0, flow.offset.packets]),
      exit(),
    ],
    out: [mov32(r0, 0), exit()],
  });

  describeKernel("API", () => {
    test("programs and user space go through it into the maps", () => {
      using map = BpfMap.create(tenants, { sys });
      using one = BpfMap.create(flows, { sys });
      using two = BpfMap.create({ ...flows, name: "two" }, { sys });
      using prog = BpfProgram.load(read, { sys, maps: [map] });
      const run = (): number => prog.testRun({ data: new Uint8Array(64) }).retval;
      one.set(7, { packets: 11, bytes: 0 });
      two.set(7, { packets: 22, bytes: 0 });
      expect(run()).toBe(0);
      map.set(1, one);
      expect(run()).toBe(11);
      map.set(1, two);
      expect(run()).toBe(22);
      expect(map.get(1)).toBe(two.info().id);
      using inner = map.openInner(1);
      expect(inner?.get(7)?.packets).toBe(22);
      inner?.set(7, { packets: 33, bytes: 1 });
      expect(run()).toBe(33);
      expect(map.openInner(2)).toBeUndefined();
      expect(map.delete(1)).toBe(true);
      expect(run()).toBe(0);
    });

    test("its keys are those with a map; batches", () => {
      using map = BpfMap.create(tenants, { sys });
      using one = BpfMap.create(flows, { sys });
      const { id } = one.info();
      expect([...map]).toEqual([]);
      map.setBatch([
        [0, one],
        [3, one],
      ]);
      expect(map.has(3)).toBe(true);
      expect([...map].sort(([a], [b]) => a - b)).toEqual([
        [0, id],
        [3, id],
      ]);
      expect(map.delete(0)).toBe(true);
      expect(map.delete(0)).toBe(false);
      expect([...map.keys()]).toEqual([3]);
      if (type === "hash_of_maps") expect(map.getBatch().entries).toEqual([[3, id]]);
    });

    test("a map that does not look like the others is refused", () => {
      using map = BpfMap.create(tenants, { sys });
      const wide = mapDef({ name: "wide", type: "hash", key: u32, value: u32, maxEntries: 8 });
      using other = BpfMap.create(wide, { sys });
      // @ts-expect-error another kind of value
      expect(() => map.set(1, other)).toThrow("Its values are maps that look like the inner definition");
      using small = BpfMap.create({ ...flows, maxEntries: 2 }, { sys });
      map.set(1, small); // of hash maps the number of entries does not matter
      if (type === "hash_of_maps") {
        expect(() => map.set(1, small, BPF_NOEXIST)).toThrow(
          "BPF_NOEXIST was asked for, and the map has the key.",
        );
      }
    });
  });

  test("it says what is in it", () => {
    expect(() => mapDef({ name: "tenants", type, key: u32, value: u32, maxEntries: 4 })).toThrow(
      new AssembleError(
        "map 'tenants' is a map of maps, and does not say of which",
        {},
        "The option `inner` is the definition of the maps in a map of maps, and only there.",
      ).message,
    );
    expect(() =>
      mapDef({ name: "odd", type: "array", key: u32, value: u32, maxEntries: 4, inner: flows }),
    ).toThrow("map 'odd' of type array has no maps in it");
  });
});
