import { expect, test } from "vitest";
import { mapDef } from "../../../src/asm/index.ts";
import { be16, s16, s32, struct, u8, u32, u64 } from "../../../src/btf/layout/index.ts";
import { BpfMap, BpfProgram } from "../../../src/kernel/index.ts";
import { func, TC_ACT_OK, tc, XDP_PASS, xdp } from "../../../src/lang/index.ts";
import { describeKernel } from "../../support/privileges.ts";

const inputs = struct("inputs", { a: u32, b: u64, c: s32, d: u8, e: be16, _: u8 }, { packed: true });

function packetOf(a: number, b: bigint, c: number, d: number, e: number): Uint8Array {
  const bytes = new Uint8Array(64);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, a, true);
  view.setBigUint64(4, b, true);
  view.setInt32(12, c, true);
  view.setUint8(16, d);
  view.setUint16(17, e);
  return bytes;
}

describeKernel("functions of one's own", () => {
  test("arguments of every width and sign, loops and branches inside, a function that calls another", () => {
    const scale = func("scale", [s32, u8], s16, ($, value, times) => {
      const sum = $.let(s32, 0);
      $.for(times, () => sum.set(sum.add(value)), { max: 4 });
      $.if(sum.lt(-100), () => $.return(-100));
      return $.return(sum.to(s16));
    });
    const all = func("all", [u32, u64, s32, u8, be16], u32, ($, a, b, c, d, e) => {
      const scaled = $.call(scale, c, d.and(3));
      return $.return(a.add(b.shr(32).to(u32)).add(scaled.to(u32)).add(e.toHost()));
    });
    const program = xdp("functions", ($) => {
      const { a, b, c, d, e } = $.packet.take(inputs, { else: () => $.return(XDP_PASS) });
      const first = $.call(all, a, b, c, d, e);
      return $.return(first.xor($.call(all, 1, 2n ** 40n, -3, 2, 0x1234)));
    });
    using loaded = BpfProgram.load(program);
    const expected = (a: number, b: bigint, c: number, d: number, e: number): number =>
      (a + Number(b >> 32n) + Math.max(-100, c * (d & 3)) + e) >>> 0;
    const constant = expected(1, 2n ** 40n, -3, 2, 0x1234);
    for (const [a, b, c, d, e] of [
      [1, 2n, 3, 4, 5],
      [0xffff_ffff, 0x1234_5678_9abc_def0n, -5, 0xff, 0xffff],
      [7, 0n, -1000, 3, 0x8000],
    ] as const) {
      const { retval } = loaded.testRun({ data: packetOf(a, b, c, d, e) });
      expect(retval >>> 0).toBe((expected(a, b, c, d, e) ^ constant) >>> 0);
    }
  });

  test("maps and helpers that take the context, in programs of two types", () => {
    const counts = mapDef({ name: "counts", type: "array", key: u32, value: u64, maxEntries: 4 });
    const word = struct("word", { value: u32 });
    const count = func("count", [u32], u32, ($, index) => {
      $.lookup(counts, index, (entry) => $.atomic.add(entry, 1));
      return $.return(index);
    });
    const firstWord = func("first_word", [u32], u32, ($, offset) => {
      const room = $.struct(word);
      $.if($.bpf_skb_load_bytes(offset, room, 4).ne(0), () => $.return(0));
      return $.return($.call(count, room.value.and(3)));
    });
    using map = BpfMap.create(counts);
    using first = BpfProgram.load(
      xdp("count_xdp", ($) => $.return($.call(count, 1))),
      { maps: [map] },
    );
    using second = BpfProgram.load(
      tc("count_tc", ($) => {
        $.call(firstWord, 0);
        $.call(firstWord, 60_000);
        return $.return(TC_ACT_OK);
      }),
      { maps: [map] },
    );
    expect(first.testRun({ data: packetOf(0, 0n, 0, 0, 0) }).retval).toBe(1);
    expect(second.testRun({ data: packetOf(2, 0n, 0, 0, 0) }).retval).toBe(TC_ACT_OK);
    expect([0, 1, 2, 3].map((key) => map.get(key))).toEqual([0n, 1n, 1n, 0n]);
  });

  test("a function that moves the packet, before the packet is taken again", () => {
    const cut = func("cut", [s32], u32, ($, by) => $.return($.bpf_xdp_adjust_head(by).to(u32)));
    const program = xdp("cutter", ($) => {
      const pass = { else: () => $.return(XDP_PASS) };
      const before = $.packet.take(struct("word", { value: u32 }), pass).value;
      $.if($.call(cut, 4).ne(0), pass.else);
      const after = $.packet.take(struct("word", { value: u32 }), pass).value;
      return $.return(after.sub(before));
    });
    using loaded = BpfProgram.load(program);
    const data = new Uint8Array(64);
    data.set([1, 0, 0, 0, 0x21, 0, 0, 0]);
    expect(loaded.testRun({ data }).retval).toBe(0x20);
  });
});
