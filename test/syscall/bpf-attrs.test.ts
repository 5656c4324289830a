import { describe, expect, test } from "vitest";
import { LITTLE_ENDIAN } from "../../src/base/host.ts";
import { enumName } from "../../src/syscall/bpf.ts";
import * as link from "../../src/syscall/bpf-link.ts";
import * as map from "../../src/syscall/bpf-map.ts";
import * as object from "../../src/syscall/bpf-object.ts";
import * as prog from "../../src/syscall/bpf-prog.ts";
import type { Syscalls } from "../../src/syscall/syscalls.ts";
import { fakeSyscalls } from "./fake-syscalls.ts";

// What each function hands to bpf(2): the command and the bytes, with predictable addresses (0x1000, 0x2000, ...).
function capture(result = 0): { sys: Syscalls; calls: string[] } {
  const calls: string[] = [];
  let addresses = 0;
  const sys = fakeSyscalls({
    addressOf: () => BigInt(++addresses) * 0x1000n,
    bpf: (cmd, attr) => {
      calls.push(`${cmd.toString(16)} ${words(attr)}`);
      return result;
    },
  });
  return { sys, calls };
}

// Hexadecimal 32-bit words with trailing zero words cut.
function words(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const all: string[] = [];
  for (let i = 0; i + 4 <= bytes.byteLength; i += 4) all.push(view.getUint32(i, LITTLE_ENDIAN).toString(16));
  while (all.at(-1) === "0") all.pop();
  return all.join(" ");
}

const key = new Uint8Array(4);
const value = new Uint8Array(8);
const u64s = new BigUint64Array([1n, 2n]);

// Offsets were checked against the BTF of a running kernel; each row is `command words...`, in hexadecimal.
const ROWS: readonly (readonly [string, (sys: Syscalls) => unknown, string])[] = [
  [
    "mapCreate",
    (sys) =>
      map.mapCreate(sys, { map_type: 16, key_size: 4, value_size: 8, max_entries: 2, map_name: "cpus" }),
    "0 10 4 8 2 0 0 0 73757063",
  ],
  [
    "mapCreate, every field",
    (sys) =>
      map.mapCreate(sys, {
        map_type: 1,
        key_size: 2,
        value_size: 3,
        max_entries: 4,
        map_flags: 5,
        inner_map_fd: 6,
        numa_node: 7,
        map_name: "a",
        map_ifindex: 8,
        btf_fd: 9,
        btf_key_type_id: 10,
        btf_value_type_id: 11,
        btf_vmlinux_value_type_id: 12,
        map_extra: 13,
        value_type_btf_obj_fd: 14,
        map_token_fd: 15,
      }),
    "0 1 2 3 4 5 6 7 61 0 0 0 8 9 a b c d 0 e f",
  ],
  ["mapLookupElem", (sys) => map.mapLookupElem(sys, 3, key, value, 4), "1 3 0 1000 0 2000 0 4"],
  ["mapLookupElem without key", (sys) => map.mapLookupElem(sys, 3, undefined, value), "1 3 0 0 0 1000"],
  ["mapUpdateElem", (sys) => map.mapUpdateElem(sys, 3, key, value, 1), "2 3 0 1000 0 2000 0 1"],
  ["mapDeleteElem", (sys) => map.mapDeleteElem(sys, 3, key), "3 3 0 1000"],
  ["mapGetNextKey", (sys) => map.mapGetNextKey(sys, 3, key, value), "4 3 0 1000 0 2000"],
  ["mapGetNextKey, first", (sys) => map.mapGetNextKey(sys, 3, undefined, value), "4 3 0 0 0 1000"],
  ["mapLookupAndDeleteElem", (sys) => map.mapLookupAndDeleteElem(sys, 3, key, value), "15 3 0 1000 0 2000"],
  ["mapFreeze", (sys) => map.mapFreeze(sys, 3), "16 3"],
  [
    "mapLookupBatch",
    (sys) =>
      map.mapLookupBatch(sys, {
        map_fd: 3,
        keys: key,
        values: value,
        count: 9,
        elem_flags: 4,
        flags: 5,
        in_batch: undefined,
        out_batch: key,
      }),
    "18 0 0 3000 0 1000 0 2000 0 9 3 4 0 5",
  ],
  [
    "mapUpdateBatch",
    (sys) => map.mapUpdateBatch(sys, { map_fd: 3, keys: key, values: value, count: 2 }),
    "1a 0 0 0 0 1000 0 2000 0 2 3",
  ],
  [
    "mapDeleteBatch",
    (sys) => map.mapDeleteBatch(sys, { map_fd: 3, keys: key, count: 2 }),
    "1b 0 0 0 0 1000 0 0 0 2 3",
  ],
  [
    "mapElement",
    (sys) => map.mapElement(sys, { number: 3 }, key, value).update(2 ** 33 + 1),
    "2 3 0 1000 0 2000 0 1 2",
  ],
  [
    "progLoad, every field",
    (sys) =>
      prog.progLoad(sys, {
        prog_type: 6,
        insns: new Uint8Array(16),
        license: "GPL",
        prog_name: "p",
        expected_attach_type: 0x25,
        prog_flags: 0x20,
        prog_ifindex: 0x21,
        kern_version: 0x22,
        attach_btf_id: 0x23,
        attach_prog_fd: 0x24,
        prog_btf_fd: 0x26,
        func_info: { bytes: new Uint8Array(16), rec_size: 8 },
        line_info: { bytes: new Uint8Array(48), rec_size: 16 },
        core_relos: { bytes: new Uint8Array(16), rec_size: 16 },
        fd_array: new Int32Array(2),
        fd_array_cnt: 2,
        log_level: 1,
        log_buf: new Uint8Array(64),
        prog_token_fd: 0x27,
      }),
    // type cnt | insns | license | level size | log | kern flags | name | ifindex eat | btf frs | fi | fic lrs | li | lic abi |
    // apf crc | fd_array | core_relos | crs lts | token fac
    "5 6 2 1000 0 2000 0 1 40 3000 0 22 20 70 0 0 0 21 25 26 8 4000 0 2 10 5000 0 3 23 24 1 6000 0 7000 0 10 0 27 2",
  ],
  [
    "progAttach",
    (sys) =>
      prog.progAttach(sys, {
        target_ifindex: 2,
        attach_bpf_fd: 3,
        attach_type: 46,
        attach_flags: 8,
        relative_fd: 4,
        expected_revision: 5,
      }),
    "8 2 3 2e 8 0 4 5",
  ],
  [
    "progAttach, replacing in a cgroup",
    (sys) =>
      prog.progAttach(sys, {
        target_fd: 2,
        attach_bpf_fd: 3,
        attach_type: 1,
        attach_flags: 4,
        replace_bpf_fd: 9,
      }),
    "8 2 3 1 4 9",
  ],
  [
    "progDetach",
    (sys) => prog.progDetach(sys, { target_ifindex: 2, attach_bpf_fd: 3, attach_type: 46 }),
    "9 2 3 2e",
  ],
  [
    "progQuery",
    (sys) => prog.progQuery(sys, { target_ifindex: 2, attach_type: 46, with_links: true }),
    "10 2 2e 0 0 1000 0 10 0 0 0 2000",
  ],
  [
    "progTestRun",
    (sys) =>
      prog.progTestRun(sys, {
        prog_fd: 3,
        data_in: new Uint8Array(14),
        data_out: new Uint8Array(256),
        ctx_in: new Uint8Array(24),
        ctx_out: new Uint8Array(25),
        repeat: 5,
        flags: 2,
        cpu: 1,
        batch_size: 64,
      }),
    "a 3 0 e 100 1000 0 2000 0 5 0 18 19 3000 0 4000 0 2 1 40",
  ],
  [
    "rawTracepointOpen",
    (sys) => prog.rawTracepointOpen(sys, { name: "n", prog_fd: 3, cookie: 7 }),
    "11 1000 0 3 0 7",
  ],
  ["progBindMap", (sys) => prog.progBindMap(sys, { prog_fd: 3, map_fd: 4 }), "23 3 4"],
  ["objPin", (sys) => object.objPin(sys, { pathname: "/p", bpf_fd: 3 }), "6 1000 0 3"],
  [
    "objPin under a directory",
    (sys) => object.objPin(sys, { pathname: "p", bpf_fd: 3, path_fd: 8, file_flags: 0x4000 }),
    "6 1000 0 3 4000 8",
  ],
  ["objGet", (sys) => object.objGet(sys, { pathname: "/p", file_flags: 8 }), "7 1000 0 0 8"],
  ["progGetNextId", (sys) => object.progGetNextId(sys, 5), "b 5"],
  ["mapGetNextId", (sys) => object.mapGetNextId(sys, 5), "c 5"],
  ["progGetFdById", (sys) => object.progGetFdById(sys, 5), "d 5"],
  ["mapGetFdById", (sys) => object.mapGetFdById(sys, 5, 8), "e 5 0 8"],
  ["objGetInfoByFd", (sys) => object.objGetInfoByFd(sys, 5, value), "f 5 8 1000"],
  [
    "btfLoad",
    (sys) => object.btfLoad(sys, { btf: key, log_buf: value, log_level: 1 }),
    "12 1000 0 2000 0 4 8 1",
  ],
  ["btfGetFdById", (sys) => object.btfGetFdById(sys, 5), "13 5"],
  ["taskFdQuery", (sys) => object.taskFdQuery(sys, 5, 6), "14 5 6 0 1000 1000"],
  ["btfGetNextId", (sys) => object.btfGetNextId(sys, 5), "17 5"],
  ["linkGetFdById", (sys) => object.linkGetFdById(sys, 5), "1e 5"],
  ["linkGetNextId", (sys) => object.linkGetNextId(sys, 5), "1f 5"],
  ["enableStats", (sys) => object.enableStats(sys, 0), "20 "],
  [
    "linkCreate for XDP",
    (sys) => link.linkCreate(sys, { prog_fd: 3, target_ifindex: 4, attach_type: 37, flags: 2 }),
    "1c 3 4 25 2",
  ],
  [
    "linkCreate for TCX",
    (sys) =>
      link.linkCreate(sys, {
        prog_fd: 3,
        target_ifindex: 4,
        attach_type: 46,
        flags: 8,
        tcx: { relative_id: 5, expected_revision: 6 },
      }),
    "1c 3 4 2e 8 5 0 6",
  ],
  [
    "linkCreate for netkit",
    (sys) =>
      link.linkCreate(sys, { prog_fd: 3, target_ifindex: 4, attach_type: 54, netkit: { relative_fd: 5 } }),
    "1c 3 4 36 0 5",
  ],
  [
    "linkCreate for a cgroup",
    (sys) =>
      link.linkCreate(sys, { prog_fd: 3, target_fd: 4, attach_type: 1, cgroup: { expected_revision: 6 } }),
    "1c 3 4 1 0 0 0 6",
  ],
  [
    "linkCreate for tracing",
    (sys) => link.linkCreate(sys, { prog_fd: 3, attach_type: 24, tracing: { target_btf_id: 5, cookie: 6 } }),
    "1c 3 0 18 0 5 0 6",
  ],
  [
    "linkCreate for a perf event",
    (sys) =>
      link.linkCreate(sys, { prog_fd: 3, target_fd: 4, attach_type: 41, perf_event: { bpf_cookie: 6 } }),
    "1c 3 4 29 0 6",
  ],
  [
    "linkCreate for an iterator",
    (sys) => link.linkCreate(sys, { prog_fd: 3, attach_type: 28, iter: { iter_info: key } }),
    "1c 3 0 1c 0 1000 0 4",
  ],
  [
    "linkCreate for netfilter",
    (sys) =>
      link.linkCreate(sys, {
        prog_fd: 3,
        attach_type: 45,
        netfilter: { pf: 2, hooknum: 3, priority: -5, flags: 1 },
      }),
    "1c 3 0 2d 0 2 3 fffffffb 1",
  ],
  [
    "linkCreate for kprobes by symbol",
    (sys) =>
      link.linkCreate(sys, {
        prog_fd: 3,
        attach_type: 42,
        kprobe_multi: { syms: ["a", "b"], cookies: u64s, flags: 1 },
      }),
    // The two names are at 0x1000 and 0x2000, the array of pointers to them at 0x3000.
    "1c 3 0 2a 0 1 2 3000 0 0 0 4000",
  ],
  [
    "linkCreate for kprobes by address",
    (sys) => link.linkCreate(sys, { prog_fd: 3, attach_type: 42, kprobe_multi: { addrs: u64s } }),
    "1c 3 0 2a 0 0 2 0 0 1000",
  ],
  [
    "linkCreate for uprobes",
    (sys) =>
      link.linkCreate(sys, {
        prog_fd: 3,
        attach_type: 48,
        uprobe_multi: { path: "/x", offsets: u64s, ref_ctr_offsets: u64s, cookies: u64s, flags: 1, pid: 9 },
      }),
    "1c 3 0 30 0 1000 0 2000 0 3000 0 4000 0 2 1 9",
  ],
  ["linkUpdate", (sys) => link.linkUpdate(sys, { link_fd: 3, new_prog_fd: 4 }), "1d 3 4"],
  [
    "linkUpdate, replacing",
    (sys) => link.linkUpdate(sys, { link_fd: 3, new_prog_fd: 4, old_prog_fd: 5 }),
    "1d 3 4 4 5",
  ],
  ["linkDetach", (sys) => link.linkDetach(sys, 3), "22 3"],
  ["iterCreate", (sys) => link.iterCreate(sys, 3), "21 3"],
];

test.each(ROWS)("%s", (_, call, expected) => {
  const { sys, calls } = capture();
  call(sys);
  expect(calls).toEqual([expected]);
});

describe("what is refused before the kernel is asked", () => {
  test.each<[string, (sys: Syscalls) => unknown, string]>([
    [
      "half an instruction",
      (sys) => prog.progLoad(sys, { prog_type: 6, insns: new Uint8Array(12), license: "GPL" }),
      "insns: 12 bytes is not a whole number of 8-byte instructions",
    ],
    [
      "two meanings of one field",
      (sys) =>
        prog.progLoad(sys, {
          prog_type: 26,
          insns: new Uint8Array(8),
          license: "GPL",
          attach_prog_fd: 3,
          attach_btf_obj_fd: 4,
        }),
      "attach_prog_fd and attach_btf_obj_fd are one field",
    ],
    [
      "part of a record",
      (sys) =>
        prog.progLoad(sys, {
          prog_type: 6,
          insns: new Uint8Array(8),
          license: "GPL",
          line_info: { bytes: new Uint8Array(17), rec_size: 16 },
        }),
      "line_info: 17 bytes is not a whole number of 16",
    ],
    [
      "two kinds of link",
      (sys) => link.linkCreate(sys, { prog_fd: 3, attach_type: 46, tcx: {}, tracing: {} }),
      "A link takes one of tracing and tcx",
    ],
    [
      "symbols and addresses",
      (sys) =>
        link.linkCreate(sys, { prog_fd: 3, attach_type: 42, kprobe_multi: { syms: ["a"], addrs: u64s } }),
      "kprobe_multi takes either syms or addrs",
    ],
    [
      "fewer cookies than symbols",
      (sys) =>
        link.linkCreate(sys, {
          prog_fd: 3,
          attach_type: 42,
          kprobe_multi: { syms: ["a", "b", "c"], cookies: u64s },
        }),
      "kprobe_multi.cookies: 2 elements where 3 are needed",
    ],
    ["a descriptor that is an errno", (sys) => map.mapFreeze(sys, -22), "map_fd: -22 does not fit"],
  ])("%s", (_, call, message) => {
    const { sys, calls } = capture();
    expect(() => call(sys)).toThrow(message);
    expect(calls).toEqual([]);
  });
});

describe("answers of the kernel", () => {
  test("ENOENT is an ordinary answer where it means none", () => {
    const { sys } = capture(-2);
    expect(map.mapLookupElem(sys, 3, key, value)).toBe(false);
    expect(map.mapDeleteElem(sys, 3, key)).toBe(false);
    expect(map.mapGetNextKey(sys, 3, key, key)).toBe(false);
    expect(map.mapElement(sys, { number: 3 }, key, value).lookup()).toBe(false);
    expect(object.progGetNextId(sys, 3)).toBeUndefined();
    expect(object.progGetFdById(sys, 3)).toBeUndefined();
    expect(() => map.mapUpdateElem(sys, 3, key, value, 2)).toThrow("ENOENT");
    expect(() => object.objGet(sys, { pathname: "/p" })).toThrow("ENOENT");
  });

  test("a signal during a load is no verdict: it is tried again, five times", () => {
    const answers = [-11, -11, 42];
    let calls = 0;
    const load = (sys: Syscalls) =>
      prog.progLoad(sys, { prog_type: 6, insns: new Uint8Array(8), license: "GPL" });
    const sys = fakeSyscalls({ addressOf: () => 1n, bpf: () => answers[calls++] ?? 0 });
    expect(load(sys).result).toBe(42);
    expect(calls).toBe(3);

    const { sys: busy, calls: tries } = capture(-11);
    expect(load(busy).result).toBe(-11);
    expect(tries).toHaveLength(6);
  });

  test("a query grows until the list fits", () => {
    const counts: number[] = [];
    const sys = fakeSyscalls({
      addressOf: () => 1n,
      bpf: (_, attr) => {
        const view = new DataView(attr.buffer);
        const capacity = view.getUint32(24, LITTLE_ENDIAN);
        counts.push(capacity);
        view.setUint32(24, 100, LITTLE_ENDIAN);
        return capacity < 100 ? -28 : 0;
      },
    });
    expect(prog.progQuery(sys, { target_ifindex: 2, attach_type: 46 }).progs).toHaveLength(100);
    expect(counts).toEqual([16, 200]);
  });

  test("a failed batch says how far it came", () => {
    const sys = fakeSyscalls({
      addressOf: () => 1n,
      bpf: (_, attr) => {
        new DataView(attr.buffer).setUint32(32, 1, LITTLE_ENDIAN);
        return -7;
      },
    });
    expect(() => map.mapUpdateBatch(sys, { map_fd: 3, keys: key, values: value, count: 5 })).toThrow(
      "bpf(BPF_MAP_UPDATE_BATCH) failed: E2BIG (Argument list too long) [map_fd=3, count=5, done=1]",
    );
  });

  test("an error names the map type and the attach type as the kernel does", () => {
    const { sys } = capture(-1);
    expect(() =>
      map.mapCreate(sys, { map_type: 16, key_size: 4, value_size: 4, max_entries: 2, map_name: "cpus" }),
    ).toThrow(
      "bpf(BPF_MAP_CREATE) failed: EPERM (Operation not permitted) " +
        "[map_type=CPUMAP, map_name=cpus, key_size=4, value_size=4, max_entries=2]",
    );
    expect(() => prog.progAttach(sys, { target_ifindex: 2, attach_bpf_fd: 3, attach_type: 46 })).toThrow(
      "[target_ifindex=2, attach_bpf_fd=3, attach_type=TCX_INGRESS]",
    );
    expect(() => map.mapUpdateElem(sys, 3, Uint8Array.of(1, 2, 0, 255), value, 1)).toThrow(
      "[map_fd=3, key=010200ff, flags=1]",
    );
  });
});

test("enumName falls back to the number", () => {
  expect(enumName({ BPF_X: 1, Y: 2 }, "BPF_", 1)).toBe("X");
  expect(enumName({ BPF_X: 1, Y: 2 }, "BPF_", 2)).toBe("2");
});
