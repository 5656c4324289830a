import { expect, test } from "vitest";
import { kprobe, perfEvent, perfEventContext, registers } from "../../src/lang/index.ts";
import { refusal } from "./refusal.ts";

// asm/ptrace.h of both; `struct bpf_perf_event_data` of each.

test("x86-64", () => {
  const { offset, size } = registers("x64");
  expect(size).toBe(21 * 8);
  expect([offset.di, offset.si, offset.dx, offset.cx, offset.r8, offset.r9]).toEqual(
    [14, 13, 12, 11, 9, 8].map((word) => word * 8),
  );
  expect([offset.arg0, offset.arg1, offset.arg2, offset.arg3, offset.arg4, offset.arg5]).toEqual([
    offset.di,
    offset.si,
    offset.dx,
    offset.cx,
    offset.r8,
    offset.r9,
  ]);
  expect([offset.ax, offset.result, offset.ip, offset.sp, offset.bp, offset.fp, offset.ss]).toEqual(
    [10, 10, 16, 19, 4, 4, 20].map((word) => word * 8),
  );
  const { offset: sample, size: sampleSize } = perfEventContext("x64");
  expect([sample.ip, sample.sample_period, sample.addr, sampleSize]).toEqual([128, 168, 176, 184]);
});

test("arm64", () => {
  const { offset, size } = registers("arm64");
  expect(size).toBe(34 * 8);
  expect([offset.arg0, offset.arg7, offset.x30, offset.lr, offset.result]).toEqual([0, 56, 240, 240, 0]);
  expect([offset.fp, offset.sp, offset.pc, offset.ip, offset.pstate]).toEqual([232, 248, 256, 256, 264]);
  const { offset: sample, size: sampleSize } = perfEventContext("arm64");
  expect([sample.ip, sample.sample_period, sample.addr, sampleSize]).toEqual([256, 272, 280, 288]);
});

test("a program for the other architecture reads the other registers", () => {
  const offsets = (arch: "x64" | "arm64") =>
    kprobe("both", registers(arch), ($) => $.return($.ctx.arg2.add($.ctx.sp)))
      .blocks.flatMap(({ insns }) => insns)
      .filter(({ code }) => code === 0x79)
      .map(({ off }) => off);
  expect(offsets("x64")).toEqual([96, 152]);
  expect(offsets("arm64")).toEqual([16, 248]);
});

test("an architecture that is not known", () => {
  const file = new URL(import.meta.url).pathname;
  const sentence = "the registers of 'riscv64' are not known";
  expect(refusal(file, () => registers("riscv64"))).toBe(sentence);
  expect(refusal(file, () => perfEvent("p", perfEventContext("riscv64"), ($) => $.return(0)))).toBe(sentence);
});
