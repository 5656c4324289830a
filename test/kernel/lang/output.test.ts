import { closeSync, openSync, writeSync } from "node:fs";
import { afterAll, expect, test } from "vitest";
import { mapDef } from "../../../src/asm/index.ts";
import { array, char, decode, struct, u32, u64 } from "../../../src/btf/layout/index.ts";
import {
  attachTracepoint,
  BpfMap,
  BpfProgram,
  PerfBuffer,
  RingBuffer,
  tracepointLayout,
} from "../../../src/kernel/index.ts";
import { func, TC_ACT_OK, tc, tracepoint, XDP_ABORTED, XDP_PASS, xdp } from "../../../src/lang/index.ts";
import { describeKernel } from "../../support/privileges.ts";

const Sample = struct("sample", { number: u64, length: u32 });
const samples = mapDef({ name: "samples", type: "perf_event_array", key: u32, value: u32, maxEntries: 256 });
const ring = mapDef({ name: "ring", type: "ringbuf", maxEntries: 4096 });

/** So many bytes that count up. */
const packetOf = (length: number): Uint8Array => Uint8Array.from({ length }, (_, index) => index);

describeKernel("events", () => {
  const devNull = openSync("/dev/null", "w");
  afterAll(() => closeSync(devNull));

  test("a perf event array: what is sent, and by whom it is not read", () => {
    const program = xdp("send", ($) => {
      const sample = $.struct(Sample, { number: 0x1122334455667788n, length: $.packet.length() });
      $.if($.output(samples, sample).ne(0), () => $.return(XDP_ABORTED));
      return $.return(XDP_PASS);
    });
    using map = BpfMap.create(samples);
    using prog = BpfProgram.load(program, { maps: [map] });
    expect(prog.testRun({ data: packetOf(64) }).retval).toBe(0); // nobody reads
    using reader = PerfBuffer.open(map, Sample);
    expect(prog.testRun({ data: packetOf(65) }).retval).toBe(XDP_PASS);
    expect(reader.take(10)).toEqual([{ number: 0x1122334455667788n, length: 65 }]);
    expect(reader.lost).toBe(0);
  });

  test("the packet's first bytes follow, a constant number and a computed one, in XDP and TC", () => {
    using map = BpfMap.create(samples);
    using reader = PerfBuffer.open(map);
    const seen = (): { sample: unknown; bytes: number[] } => {
      const [bytes = new Uint8Array()] = reader.take(10);
      const { size } = Sample;
      return { sample: decode(Sample, bytes.slice(0, size)), bytes: [...bytes.slice(size)] };
    };
    const some = xdp("some", ($) => {
      const sample = $.struct(Sample, { number: 1 });
      $.if($.output(samples, sample, { packet: 20 }).ne(0), () => $.return(XDP_ABORTED));
      return $.return(XDP_PASS);
    });
    using constant = BpfProgram.load(some, { maps: [map] });
    expect(constant.testRun({ data: packetOf(64) }).retval).toBe(XDP_PASS);
    const first = seen();
    expect(first.sample).toEqual({ number: 1n, length: 0 });
    expect(first.bytes.slice(0, 20)).toEqual([...packetOf(20)]);

    const all = tc("all", ($) => {
      const sample = $.struct(Sample, { number: 2, length: $.ctx.len });
      $.output(samples, sample, { packet: $.ctx.len });
      return $.return(TC_ACT_OK);
    });
    using computed = BpfProgram.load(all, { maps: [map] });
    computed.testRun({ data: packetOf(80) });
    const second = seen();
    expect(second.sample).toEqual({ number: 2n, length: 80 });
    expect(second.bytes.slice(0, 80)).toEqual([...packetOf(80)]);

    const more = xdp("more", ($) =>
      $.return($.output(samples, $.struct(Sample), { packet: 500 }).neg().to(u32)),
    );
    using tooMany = BpfProgram.load(more, { maps: [map] });
    expect(tooMany.testRun({ data: packetOf(64) }).retval).toBe(14); // EFAULT
  });

  test("a ring buffer, from a function of one's own, and a map's value as the event", () => {
    const state = mapDef({ name: "state", type: "array", key: u32, value: Sample, maxEntries: 1 });
    const send = func("send", [u64], u32, ($, number) => {
      $.if($.output(ring, $.struct(Sample, { number })).ne(0), () => $.return(1));
      return $.return(0);
    });
    const program = xdp("send_both", ($) => {
      const value = $.global(state);
      value.length.set($.packet.length());
      $.output(ring, value, { flags: 1 });
      return $.return($.call(send, 77n));
    });
    using map = BpfMap.create(ring);
    using values = BpfMap.create(state);
    values.set(0, { number: 5n, length: 0 });
    using prog = BpfProgram.load(program, { maps: [map, values] });
    using reader = RingBuffer.open(map, Sample);
    expect(prog.testRun({ data: packetOf(66) }).retval).toBe(0);
    expect(reader.take(10)).toEqual([
      { number: 5n, length: 66 },
      { number: 77n, length: 0 },
    ]);
  });

  test("a perf event array from a tracepoint", () => {
    const Named = struct("named", { comm: array(char, 16) });
    const Write = tracepointLayout("syscalls:sys_enter_write", { fd: u32, count: u64 });
    const program = tracepoint("on_write", Write, ($) => {
      $.if($.ctx.count.ne(0x1234), () => $.return(0));
      const named = $.struct(Named);
      $.bpf_get_current_comm(named, 16);
      $.output(samples, named);
      return $.return(0);
    });
    using map = BpfMap.create(samples);
    using prog = BpfProgram.load(program, { maps: [map] });
    using reader = PerfBuffer.open(map, Named);
    using _link = attachTracepoint(prog, "syscalls:sys_enter_write");
    writeSync(devNull, new Uint8Array(0x1234));
    expect(reader.take(10).length).toBeGreaterThan(0);
  });
});
