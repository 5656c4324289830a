import { expect, test } from "vitest";
import { mapDef } from "../../../src/asm/index.ts";
import { array, struct, u32 } from "../../../src/btf/layout/index.ts";
import { BpfMap, BpfProgram } from "../../../src/kernel/index.ts";
import { XDP_PASS, xdp } from "../../../src/lang/index.ts";
import { describeKernel } from "../../support/privileges.ts";

// Structs of the kernel and of protocols have members of any name: none means something else to the language.
const Names = struct("names", {
  memory: u32,
  memory_: u32,
  length: u32,
  at: u32,
  wrap: u32,
  tag: u32,
  nullable: u32,
  kind: u32,
  layout: u32,
  set: u32,
  array: array(u32, 2),
});
const named = mapDef({ name: "named", type: "array", key: u32, value: Names, maxEntries: 2 });

describeKernel("members of structs", () => {
  test("may have the names that views and pointers themselves use", () => {
    const names = xdp("names", ($) => {
      const value = $.lookup(named, 0, { else: () => $.return(XDP_PASS) });
      value.memory.set(1);
      value.memory_.set(value.memory.add(1));
      value.length.set(value.array.length);
      value.at.set(3);
      value.wrap.set(4);
      value.tag.set(5);
      value.nullable.set(6);
      value.kind.set(7);
      value.layout.set(8);
      value.set.set(9);
      value.array.at(1).set(10);
      $.update(named, 1, value);
      $.atomic.add(value.memory, 1);
      return $.return(value.memory_.add(value.tag));
    });
    using map = BpfMap.create(named);
    using program = BpfProgram.load(names, { maps: [map] });
    expect(program.testRun({ data: new Uint8Array(64) }).retval).toBe(7);
    expect(map.get(1)).toEqual({
      memory: 1,
      memory_: 2,
      length: 2,
      at: 3,
      wrap: 4,
      tag: 5,
      nullable: 6,
      kind: 7,
      layout: 8,
      set: 9,
      array: [0, 10],
    });
    expect(map.get(0)).toMatchObject({ memory: 2 });
  });
});
