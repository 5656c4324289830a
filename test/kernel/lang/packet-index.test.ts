import { expect, test } from "vitest";
import { mapDef } from "../../../src/asm/index.ts";
import { array, be16, bytes, struct, u8, u32 } from "../../../src/btf/layout/index.ts";
import { BpfMap, BpfProgram } from "../../../src/kernel/index.ts";
import { XDP_DROP, XDP_PASS, type XdpScope, xdp } from "../../../src/lang/index.ts";
import { ethhdr } from "../../../src/lang/net/index.ts";
import { ethernet, payload } from "../../lang/packets.ts";
import { describeKernel } from "../../support/privileges.ts";

const Frame = struct("frame", { index: u8, count: u8, words: array(be16, 20), raw: bytes(20) });
const pass = ($: XdpScope) => ({ else: () => $.return(XDP_PASS) });

/** A frame whose words count from 0x100 on, and whose bytes from 1 on. */
function frame(index: number, count: number): Uint8Array {
  const data = new Uint8Array(Frame.size);
  data.set([index, count]);
  for (let at = 0; at < 20; at++) {
    data.set([1, at], Frame.offset.words + 2 * at);
    data[Frame.offset.raw + at] = at + 1;
  }
  return data;
}

describeKernel("indexes that the program computed", () => {
  test("go into the packet, with a check of their own", () => {
    const program = xdp("indexes", ($) => {
      const { index, count, words, raw } = $.packet.take(Frame, pass($));
      const word = words.at(index, pass($));
      word.set(word.xor(0xf000));
      const sum = $.let(u32, 0);
      $.for(count, (at) => sum.set(sum.add(raw.at(at, { else: () => $.break() }))), { max: 40 });
      return $.return(sum);
    });
    using prog = BpfProgram.load(program);
    for (const [index, count] of [
      [0, 3],
      [19, 20],
      [7, 30],
    ] as const) {
      const { retval, data } = prog.testRun({ data: frame(index, count) });
      const summed = Math.min(count, 20);
      expect(retval).toBe((summed * (summed + 1)) / 2);
      const expected = frame(index, count);
      expected[Frame.offset.words + 2 * index] = 0xf1;
      expect([...data]).toEqual([...expected]);
    }
    expect(prog.testRun({ data: frame(20, 1) })).toMatchObject({ retval: XDP_PASS, data: frame(20, 1) });
  });

  test("go into bytes of the stack and of maps' values", () => {
    const lettersOf = struct("letters", { bytes: bytes(8) });
    const letters = mapDef({ name: "letters", type: "array", key: u32, value: lettersOf, maxEntries: 1 });
    const program = xdp("letters", ($) => {
      const { index, count } = $.packet.take(Frame, pass($));
      const value = $.lookup(letters, 0, pass($));
      value.bytes.wrap(index).set(count);
      const copy = $.struct(lettersOf, value);
      return $.return(copy.bytes.at(index, { else: () => $.return(XDP_DROP) }).add(1));
    });
    using map = BpfMap.create(letters);
    using prog = BpfProgram.load(program, { maps: [map] });
    expect(prog.testRun({ data: frame(5, 40) }).retval).toBe(41);
    expect(prog.testRun({ data: frame(9, 50) }).retval).toBe(XDP_DROP);
    expect([...(map.get(0)?.bytes ?? [])]).toEqual([0, 50, 0, 0, 0, 40, 0, 0]);
  });

  test("an offset in the packet says how far its front is moved", () => {
    const cut = xdp("cut", ($) => {
      $.packet.skip(ethhdr.size);
      $.packet.adjustHead($.packet.offset(), { else: () => $.return(XDP_DROP) });
      return $.return(XDP_PASS);
    });
    using prog = BpfProgram.load(cut);
    const inner = payload(40);
    const { retval, data } = prog.testRun({ data: ethernet(0x88b5, inner) });
    expect([retval, [...data]]).toEqual([XDP_PASS, [...inner]]);
  });
});
