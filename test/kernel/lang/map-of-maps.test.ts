import { expect, test } from "vitest";
import { mapDef } from "../../../src/asm/index.ts";
import { struct, u8, u32, u64 } from "../../../src/btf/layout/index.ts";
import { BpfMap, BpfProgram } from "../../../src/kernel/index.ts";
import { XDP_DROP, XDP_PASS, xdp } from "../../../src/lang/index.ts";
import { describeKernel } from "../../support/privileges.ts";

const tenant = mapDef({ name: "tenant", type: "hash", key: u32, value: u64, maxEntries: 8 });
const tenants = mapDef({
  name: "tenants",
  type: "array_of_maps",
  key: u32,
  value: u32,
  maxEntries: 2,
  inner: tenant,
});
const input = struct("input", { tenant: u8, key: u8 });

describeKernel("a map of maps", () => {
  test("the map that was found is looked into and written", () => {
    const program = xdp("tenants", ($) => {
      const { tenant: which, key } = $.packet.take(input, { else: () => $.return(XDP_PASS) });
      const found = $.lookup(tenants, which, { else: () => $.return(XDP_DROP) });
      $.lookup(found, key, (count) => $.atomic.add(count, 1)).else(() => void $.update(found, key, 100));
      return $.return(XDP_PASS);
    });
    using first = BpfMap.create(tenant);
    using outer = BpfMap.create(tenants);
    outer.set(1, first);
    using loaded = BpfProgram.load(program, { maps: [outer] });
    const run = (...bytes: number[]): number => {
      const data = new Uint8Array(64);
      data.set(bytes);
      return loaded.testRun({ data }).retval;
    };
    expect([run(1, 7), run(1, 7), run(1, 9), run(0, 7), run(5, 7)]).toEqual([
      XDP_PASS,
      XDP_PASS,
      XDP_PASS,
      XDP_DROP,
      XDP_DROP,
    ]);
    expect(Object.fromEntries(first.entries())).toEqual({ 7: 101n, 9: 100n });
  });
});
