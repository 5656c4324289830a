/** Shared by the kernel tests of src/syscall: the real system calls with a leak tracer, and a few hand-encoded programs. */
import { afterEach } from "vitest";
import { progLoad } from "../../../src/syscall/bpf-prog.ts";
import { check } from "../../../src/syscall/errno.ts";
import { Fd, type FdLeakTracer, fdLeakTracer } from "../../../src/syscall/fd.ts";
import { linuxSyscalls } from "../../../src/syscall/ffi.ts";
import type { Syscalls } from "../../../src/syscall/syscalls.ts";

/** The real system calls; each test fails if it leaves an `Fd` open. */
export function tracedSyscalls(): Syscalls {
  const tracer: FdLeakTracer = fdLeakTracer();
  afterEach(() => {
    const leaks = tracer.leaks();
    try {
      tracer.assertNone();
    } finally {
      for (const { fd } of leaks) fd.close();
    }
  });
  return { ...linuxSyscalls(), fdTracker: tracer };
}

/** `struct bpf_insn`s in host byte order. */
export function insns(
  ...list: readonly (readonly [code: number, dst: number, src: number, off: number, imm: number])[]
): Uint8Array {
  const little = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
  const view = new DataView(new ArrayBuffer(list.length * 8));
  list.forEach(([code, dst, src, off, imm], i) => {
    view.setUint8(i * 8, code);
    view.setUint8(i * 8 + 1, little ? (src << 4) | dst : (dst << 4) | src);
    view.setInt16(i * 8 + 2, off, little);
    view.setInt32(i * 8 + 4, imm, little);
  });
  return new Uint8Array(view.buffer);
}

/** `r0 = value; exit` */
export const returning = (value: number): Uint8Array => insns([0xb7, 0, 0, 0, value], [0x95, 0, 0, 0, 0]);

export const BPF_PROG_TYPE_SCHED_CLS = 3;
export const BPF_PROG_TYPE_XDP = 6;

/** Loads `r0 = value; exit`. */
export function loadReturning(sys: Syscalls, prog_type: number, value: number, name: string): Fd {
  const { result } = progLoad(sys, { prog_type, insns: returning(value), license: "GPL", prog_name: name });
  return Fd.own(sys, check(result, "bpf(BPF_PROG_LOAD)"), `program ${name}`);
}
