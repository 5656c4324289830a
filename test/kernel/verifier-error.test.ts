import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { add, add32, and, mov, mov32, mul } from "../../src/asm/alu.ts";
import { type Assembled, assemble } from "../../src/asm/assemble.ts";
import { aadd32 } from "../../src/asm/atomic.ts";
import { call } from "../../src/asm/call.ts";
import { encode } from "../../src/asm/encode.ts";
import { type Insn, insn } from "../../src/asm/insn.ts";
import { exit, ja, jeq, jgt, jlt, jne } from "../../src/asm/jump.ts";
import {
  lddw,
  ldxb,
  ldxdw,
  ldxh,
  ldxw,
  mapFd,
  stb,
  stdw,
  stw,
  stxdw,
  stxw,
} from "../../src/asm/load-store.ts";
import { type MapDef, mapDef } from "../../src/asm/map-def.ts";
import {
  type Blocks,
  type Program,
  type ProgramOptions,
  type ProgTypeName,
  program,
  schedCls,
  subprogram,
  xdp,
} from "../../src/asm/program.ts";
import { r0, r1, r2, r3, r4, r5, r6, r7, r8, r10 } from "../../src/asm/register.ts";
import { array } from "../../src/btf/layout/array.ts";
import { u32 } from "../../src/btf/layout/scalar.ts";
import { struct } from "../../src/btf/layout/struct.ts";
import { BpfMap } from "../../src/kernel/map.ts";
import { BpfProgram, progTypeNumber } from "../../src/kernel/program.ts";
import { createSourceText } from "../../src/kernel/source-text.ts";
import type { HintId } from "../../src/kernel/verifier/hint.ts";
import { loadWithLog } from "../../src/kernel/verifier/load-log.ts";
import { VerifierError } from "../../src/kernel/verifier-error.ts";
import { linuxSyscalls } from "../../src/syscall/ffi.ts";
import { BPF_F_RDONLY_PROG, XDP_PASS } from "../../src/uapi/bpf.ts";
import {
  bpf_get_current_comm,
  bpf_get_prandom_u32,
  bpf_ktime_get_ns,
  bpf_loop,
  bpf_map_lookup_elem,
  bpf_redirect_map,
  bpf_ringbuf_discard,
  bpf_ringbuf_reserve,
  bpf_sk_lookup_tcp,
  bpf_skb_load_bytes,
  bpf_spin_lock,
  bpf_spin_unlock,
  bpf_tail_call,
  bpf_trace_printk,
  bpf_xdp_adjust_head,
} from "../../src/uapi/helpers.ts";
import { __sk_buff, xdp_md } from "../../src/uapi/structs.ts";
import { describeKernel } from "../support/privileges.ts";

const FILE = fileURLToPath(import.meta.url);
const SOURCE = readFileSync(FILE, "utf8").split("\n");

const value16 = array(u32, 4);
const hash = mapDef({ name: "flows", type: "hash", key: u32, value: value16, maxEntries: 4 });
const single = mapDef({ name: "single", type: "array", key: u32, value: value16, maxEntries: 1 });
const readOnly = mapDef({
  name: "config",
  type: "array",
  key: u32,
  value: value16,
  maxEntries: 1,
  flags: BPF_F_RDONLY_PROG,
});
const cpus = mapDef({ name: "cpus", type: "cpumap", key: u32, value: u32, maxEntries: 1 });
const events = mapDef({ name: "events", type: "ringbuf", maxEntries: 4096 });

const locked = mapDef({
  name: "locked",
  type: "array",
  key: u32,
  value: struct("counter", { lock: struct("bpf_spin_lock", { val: u32 }), count: u32 }),
  maxEntries: 1,
});

const pass = [mov32(r0, XDP_PASS), exit()];

/** r0 = a pointer to the value of key 0, or null. */
function lookup(map: MapDef): Insn<never, "bpf_map_lookup_elem">[] {
  return [stw([r10, -4], 0), lddw(r1, mapFd(map)), mov(r2, r10), add(r2, -4), call(bpf_map_lookup_elem)];
}

/** r0 = a record of the ring buffer, or null. */
function reserve(): Insn<never, "bpf_ringbuf_reserve">[] {
  return [lddw(r1, mapFd(events)), mov(r2, 8), mov(r3, 0), call(bpf_ringbuf_reserve)];
}

/** A program past the type checker, which refuses some of these mistakes before the kernel can. */
function unchecked(
  type: ProgTypeName,
  blocks: Blocks,
  options: ProgramOptions & { readonly name?: string } = {},
): Program {
  return program(type, options.name ?? "bad", blocks as never, options);
}

/** A mistake; the line that makes it ends in `// <- name`. */
interface Mistake {
  readonly hint: HintId;
  readonly reason: string | RegExp;
  /** What the hint says; what matters of it. */
  readonly says: string | RegExp;
  /** The registers as the message shows them. */
  readonly registers?: string | RegExp;
  readonly program: () => Program;
  /** Changes the assembled program, for what the assembler refuses by itself. */
  readonly spoil?: (assembled: Assembled) => Assembled;
}

const MISTAKES: { readonly [name: string]: Mistake } = {
  "packet read without a check": {
    hint: "packet-bounds",
    reason:
      /^invalid access to packet, off=12 size=2, R2\(id=0,off=12,r=0\); R2 offset is outside of the packet$/,
    says: 'Compare r2 + 14 with data_end first: mov(r4, r2), add(r4, 14), jgt(r4, r3, "out"), with data_end in r3.',
    registers: "r2=pkt(r=0)",
    program: () =>
      xdp("bad", {
        entry: [
          ldxw(r2, [r1, xdp_md.data]),
          ldxh(r6, [r2, 12]), // <- packet read without a check
          ...pass,
        ],
      }),
  },
  "packet read behind the check": {
    hint: "packet-bounds",
    reason: /off=14 size=2/,
    says: "Only 14 bytes behind r2 were compared with data_end, and this access reaches 16: compare that many.",
    program: () =>
      xdp("bad", {
        entry: [
          ldxw(r2, [r1, xdp_md.data]),
          ldxw(r3, [r1, xdp_md.data_end]),
          mov(r4, r2),
          add(r4, 14),
          jgt(r4, r3, "out"),
          ldxh(r6, [r2, 14]), // <- packet read behind the check
        ],
        out: pass,
      }),
  },
  "packet read through a moved pointer": {
    hint: "packet-bounds",
    reason: /off=20 size=4, R2\(id=0,off=20,r=14\)/,
    says: "Only 14 bytes from where r2 pointed before 16 was added to it were compared with data_end, and this access reaches 24",
    program: () =>
      xdp("bad", {
        entry: [
          ldxw(r2, [r1, xdp_md.data]),
          ldxw(r3, [r1, xdp_md.data_end]),
          mov(r4, r2),
          add(r4, 14),
          jgt(r4, r3, "out"),
          add(r2, 16),
          ldxw(r6, [r2, 4]), // <- packet read through a moved pointer
        ],
        out: pass,
      }),
  },
  "packet offset with a limit, without a check": {
    hint: "packet-bounds",
    reason: /^invalid access to packet, off=2 size=1, R2\(id=\d+,off=2,r=0\)/,
    says: 'Compare r2 + 3 with data_end first: mov(r4, r2), add(r4, 3), jgt(r4, r3, "out")',
    program: () =>
      xdp("bad", {
        entry: [
          ldxw(r2, [r1, xdp_md.data]),
          ldxw(r4, [r1, xdp_md.rx_queue_index]),
          and(r4, 63),
          add(r2, r4),
          ldxb(r6, [r2, 2]), // <- packet offset with a limit, without a check
          ...pass,
        ],
      }),
  },
  "packet offset without a limit": {
    hint: "packet-variable-offset",
    reason: /^invalid access to packet, off=0 size=1, R2\(id=\d+,off=0,r=0\)/,
    says: "What was added to r2 may be as large as 4294967295. Limit it before it is added, as in and(r5, 0xff)",
    program: () =>
      xdp("bad", {
        entry: [
          ldxw(r2, [r1, xdp_md.data]),
          ldxw(r3, [r1, xdp_md.data_end]),
          ldxw(r4, [r1, xdp_md.rx_queue_index]),
          add(r2, r4),
          mov(r5, r2),
          add(r5, 1),
          jgt(r5, r3, "out"),
          ldxb(r6, [r2, 0]), // <- packet offset without a limit
        ],
        out: pass,
      }),
  },
  "read through data_end": {
    hint: "packet-end-access",
    reason: "R2 invalid mem access 'pkt_end'",
    says: "r2 is data_end, the first byte behind the packet: it can only be compared with.",
    program: () =>
      xdp("bad", {
        entry: [
          ldxw(r2, [r1, xdp_md.data_end]),
          ldxb(r6, [r2, -1]), // <- read through data_end
          ...pass,
        ],
      }),
  },
  "arithmetic on data_end": {
    hint: "packet-end-arithmetic",
    reason: "R2 pointer arithmetic on pkt_end prohibited",
    says: "r2 is data_end, which may only be compared.",
    registers: "r2=pkt_end()",
    program: () =>
      xdp("bad", {
        entry: [
          ldxw(r2, [r1, xdp_md.data_end]),
          add(r2, -14), // <- arithmetic on data_end
          ...pass,
        ],
      }),
  },
  "packet pointer after the packet moved": {
    hint: "packet-moved",
    reason: "R7 invalid mem access 'scalar'",
    says: /^r7 pointed into the packet until the call of bpf_xdp_adjust_head at test\/kernel\/verifier-error\.test\.ts:\d+:\d+, which may move the packet\. Load data and data_end/,
    program: () =>
      xdp("bad", {
        entry: [
          ldxw(r7, [r1, xdp_md.data]),
          ldxw(r8, [r1, xdp_md.data_end]),
          mov(r3, r7),
          add(r3, 14),
          jgt(r3, r8, "out"),
          mov(r2, -4),
          call(bpf_xdp_adjust_head),
          ldxb(r6, [r7, 0]), // <- packet pointer after the packet moved
        ],
        out: pass,
      }),
  },
  "lookup without a null check": {
    hint: "null-check",
    reason: "R0 invalid mem access 'map_value_or_null'",
    says: 'r0 may be null here, as after a lookup that found nothing: check it first, as in jeq(r0, 0, "out").',
    registers: /^r0=map_value_or_null\(/,
    program: () =>
      xdp("bad", {
        entry: [
          ...lookup(hash),
          ldxdw(r1, [r0, 0]), // <- lookup without a null check
          ...pass,
        ],
      }),
  },
  "null given to a helper": {
    hint: "null-check",
    reason: "R1 type=ringbuf_mem_or_null expected=ringbuf_mem",
    says: "r1 may be null here",
    program: () =>
      xdp("bad", {
        entry: [
          ...reserve(),
          mov(r1, r0),
          mov(r2, 0),
          call(bpf_ringbuf_discard), // <- null given to a helper
          ...pass,
        ],
      }),
  },
  "argument register after a call": {
    hint: "lost-in-call",
    reason: "R1 !read_ok",
    says: /^Every call takes r1 to r5 away, and the call of bpf_ktime_get_ns at test\/kernel\/verifier-error\.test\.ts:\d+:\d+ took r1\. Keep what is needed later in r6 to r9, as in mov\(r6, r1\) before the call\.$/,
    program: () =>
      xdp("bad", {
        entry: [
          call(bpf_ktime_get_ns),
          ldxw(r2, [r1, xdp_md.data]), // <- argument register after a call
          ...pass,
        ],
      }),
  },
  "register that nothing wrote": {
    hint: "uninitialized-register",
    reason: "R6 !read_ok",
    says: "Nothing wrote r6 on this path. A program starts with the context in r1",
    program: () =>
      xdp("bad", {
        entry: [
          mov(r0, r6), // <- register that nothing wrote
          exit(),
        ],
      }),
  },
  "caller's register in a subprogram": {
    hint: "uninitialized-register",
    reason: "R6 !read_ok",
    says: "A subprogram starts with its arguments in r1 to r5",
    program: () => {
      const inner = subprogram("inner", {
        entry: [
          mov(r0, r6), // <- caller's register in a subprogram
          exit(),
        ],
      });
      return xdp("bad", { entry: [mov(r6, 1), call(inner), ...pass] });
    },
  },
  "exit without a result": {
    hint: "no-return-value",
    reason: "R0 !read_ok",
    says: "r0 is the result, and nothing set it on this path to exit(): set it, as in mov32(r0, XDP_PASS).",
    program: () =>
      xdp("bad", {
        entry: [
          mov32(r1, XDP_PASS),
          exit(), // <- exit without a result
        ],
      }),
  },
  "number used as a pointer": {
    hint: "not-a-pointer",
    reason: "R1 invalid mem access 'scalar'",
    says: "r1 holds a number (5), not a pointer that the verifier knows.",
    registers: "r1=5",
    program: () =>
      xdp("bad", {
        entry: [
          mov(r1, 5),
          ldxw(r2, [r1, 0]), // <- number used as a pointer
          ...pass,
        ],
      }),
  },
  "map used as a value": {
    hint: "map-pointer",
    reason: /^only read from bpf_\w+ is supported$/,
    says: "What lddw(register, mapFd(map)) gives is the map, not its values.",
    program: () =>
      xdp("bad", {
        entry: [
          lddw(r1, mapFd(hash)),
          stdw([r1, 0], 1), // <- map used as a value
          ...pass,
        ],
      }),
  },
  "32-bit arithmetic on a pointer": {
    hint: "pointer-32-bit",
    reason: "R2 32-bit pointer arithmetic prohibited",
    says: "r2 is a pointer, of 64 bits: use the 64-bit form",
    program: () =>
      xdp("bad", {
        entry: [
          ldxw(r2, [r1, xdp_md.data]),
          add32(r2, 14), // <- 32-bit arithmetic on a pointer
          ...pass,
        ],
      }),
  },
  "multiplied pointer": {
    hint: "pointer-arithmetic",
    reason: "R2 pointer arithmetic with *= operator prohibited",
    says: "Of a pointer only add and sub of a number are allowed.",
    program: () =>
      xdp("bad", {
        entry: [
          ldxw(r2, [r1, xdp_md.data]),
          mul(r2, 2), // <- multiplied pointer
          ...pass,
        ],
      }),
  },
  "frame pointer written": {
    hint: "frame-pointer",
    reason: "frame pointer is read only",
    says: "r10 cannot be written. Copy it and change the copy: mov(r2, r10), add(r2, -8).",
    program: () =>
      xdp("bad", {
        entry: [
          insn<never, never>({ code: 0x07, dst_reg: 10, imm: -8 }), // <- frame pointer written
          ...pass,
        ],
      }),
  },
  "stack overflow": {
    hint: "stack-bounds",
    reason: "invalid write to stack R10 off=-520 size=8",
    says: "The stack is the 512 bytes below r10, offsets -512 to -1; this access is at -520.",
    registers: "r10=fp0",
    program: () =>
      xdp("bad", {
        entry: [
          stdw([r10, -520], 0), // <- stack overflow
          ...pass,
        ],
      }),
  },
  "helper writes above the stack": {
    hint: "stack-bounds",
    reason: "invalid write to stack R3 off=-16 size=32",
    says: "this access is at -16, and 32 bytes reach above r10.",
    registers: "r1=ctx() r2=0 r3=fp-16 r4=32",
    program: () =>
      schedCls("bad", {
        entry: [
          mov(r2, 0),
          mov(r3, r10),
          add(r3, -16),
          mov(r4, 32),
          call(bpf_skb_load_bytes), // <- helper writes above the stack
          ...pass,
        ],
      }),
  },
  "stack at a variable offset": {
    hint: "stack-variable-offset",
    reason: "invalid unbounded variable-offset write to stack R3",
    says: "The offset into the stack must be known, or at least limited on both sides",
    program: () =>
      xdp("bad", {
        entry: [
          ldxw(r2, [r1, xdp_md.rx_queue_index]),
          mov(r3, r10),
          add(r3, r2),
          stb([r3, -8], 0), // <- stack at a variable offset
          ...pass,
        ],
      }),
  },
  "misaligned stack": {
    hint: "misaligned",
    reason: /^misaligned stack access off .*-12 size 8$/,
    says: "An access of 8 bytes to the stack must be at a multiple of 8",
    program: () =>
      xdp("bad", {
        entry: [
          stdw([r10, -12], 0), // <- misaligned stack
          ...pass,
        ],
      }),
  },
  "pointer spilled with 4 bytes": {
    hint: "spill-size",
    reason: "invalid size of register spill",
    says: "A pointer is kept on the stack whole: 8 bytes at a multiple of 8, as in stxdw([r10, -8], r1).",
    registers: "r1=ctx() r10=fp0",
    program: () =>
      xdp("bad", {
        entry: [
          stxw([r10, -4], r1), // <- pointer spilled with 4 bytes
          ...pass,
        ],
      }),
  },
  "pointer filled with 4 bytes": {
    hint: "spill-size",
    reason: "invalid size of register fill",
    says: "read back whole: 8 bytes",
    registers: "r10=fp0 fp-8=ctx()",
    program: () =>
      xdp("bad", {
        entry: [
          stxdw([r10, -8], r1),
          ldxw(r2, [r10, -8]), // <- pointer filled with 4 bytes
          ...pass,
        ],
      }),
  },
  "map value too short": {
    hint: "map-value-bounds",
    reason: /^invalid access to map value, value_size=16 off=16 size=8; R0 min value is outside/,
    says: "Bytes 16 to 23 are not inside a value of 16 bytes",
    program: () =>
      xdp("bad", {
        entry: [
          ...lookup(single),
          jeq(r0, 0, "out"),
          ldxdw(r1, [r0, 16]), // <- map value too short
        ],
        out: pass,
      }),
  },
  "map value with too wide a mask": {
    hint: "map-value-bounds",
    reason: /off=31 size=1; R0 max value is outside/,
    says: "The access may reach byte 32 of a value of 16 bytes: limit what is added to the pointer, as in and(r5, 15).",
    program: () =>
      xdp("bad", {
        entry: [
          ldxw(r6, [r1, xdp_md.rx_queue_index]),
          and(r6, 31),
          ...lookup(single),
          jeq(r0, 0, "out"),
          add(r0, r6),
          ldxb(r1, [r0, 0]), // <- map value with too wide a mask
        ],
        out: pass,
      }),
  },
  "map value given to a helper as a larger buffer": {
    hint: "map-value-bounds",
    reason: /value_size=16 off=0 size=32/,
    says: "The helper is given 32 bytes at offset 0 of a value of 16 bytes",
    program: () =>
      unchecked("kprobe", {
        entry: [
          ...lookup(single),
          jeq(r0, 0, "out"),
          mov(r1, r0),
          mov(r2, 32),
          call(bpf_get_current_comm), // <- map value given to a helper as a larger buffer
        ],
        out: pass,
      }),
  },
  "map offset without a limit": {
    hint: "variable-offset",
    reason: "R0 unbounded memory access, make sure to bounds check any such access",
    says: "Limit it before it is added, as in and(r4, 15)",
    program: () =>
      xdp("bad", {
        entry: [
          ldxw(r6, [r1, xdp_md.rx_queue_index]),
          ...lookup(single),
          jeq(r0, 0, "out"),
          add(r0, r6),
          ldxb(r1, [r0, 0]), // <- map offset without a limit
        ],
        out: pass,
      }),
  },
  "64-bit map offset without a limit": {
    hint: "variable-offset",
    reason: "math between map_value pointer and register with unbounded min value is not allowed",
    says: "the verifier knows no limit for it",
    program: () =>
      xdp("bad", {
        entry: [
          call(bpf_ktime_get_ns),
          mov(r6, r0),
          ...lookup(single),
          jeq(r0, 0, "out"),
          add(r0, r6), // <- 64-bit map offset without a limit
        ],
        out: pass,
      }),
  },
  "ring buffer record too short": {
    hint: "memory-bounds",
    reason: /^invalid access to memory, mem_size=8 off=8 size=8/,
    says: "The access reaches byte 16 of 8.",
    program: () =>
      xdp("bad", {
        entry: [
          ...reserve(),
          jeq(r0, 0, "out"),
          stdw([r0, 8], 0), // <- ring buffer record too short
          mov(r1, r0),
          mov(r2, 0),
          call(bpf_ringbuf_discard),
        ],
        out: pass,
      }),
  },
  "read-only map written": {
    hint: "read-only-memory",
    reason: /^write into map forbidden/,
    says: "The map was created with BPF_F_RDONLY_PROG, or is frozen: programs may only read it.",
    program: () =>
      xdp("bad", {
        entry: [
          ...lookup(readOnly),
          jeq(r0, 0, "out"),
          stdw([r0, 0], 1), // <- read-only map written
        ],
        out: pass,
      }),
  },
  "context field of the wrong width": {
    hint: "context-access",
    reason: "invalid bpf_context access off=0 size=2",
    says: "The program reads 2 bytes at offset 0 of its context, which programs of type xdp may not.",
    program: () =>
      xdp("bad", {
        entry: [
          ldxh(r2, [r1, xdp_md.data]), // <- context field of the wrong width
          ...pass,
        ],
      }),
  },
  "context written": {
    hint: "context-access",
    reason: "invalid bpf_context access off=0 size=4",
    says: "The program writes 4 bytes at offset 0 of its context",
    program: () =>
      schedCls("bad", {
        entry: [
          mov32(r2, 0),
          stxw([r1, __sk_buff.len], r2), // <- context written
          ...pass,
        ],
      }),
  },
  "moved context pointer": {
    hint: "context-modified",
    reason: /^dereference of modified ctx ptr R1 off=4 disallowed$/,
    says: "put the offset into the access, as in ldxw(r2, [r1, 4]), instead of adding it to the pointer.",
    registers: "r1=ctx(off=4)",
    program: () =>
      xdp("bad", {
        entry: [
          add(r1, xdp_md.data_end),
          ldxw(r2, [r1, 0]), // <- moved context pointer
          ...pass,
        ],
      }),
  },
  "atomic on the packet": {
    hint: "atomic-target",
    reason: "BPF_ATOMIC stores into R2 pkt is not allowed",
    says: "Atomic operations work on map values and on the stack, not on the packet.",
    program: () =>
      xdp("bad", {
        entry: [
          ldxw(r2, [r1, xdp_md.data]),
          ldxw(r3, [r1, xdp_md.data_end]),
          mov(r4, r2),
          add(r4, 14),
          jgt(r4, r3, "out"),
          mov32(r1, 1),
          aadd32([r2, 0], r1), // <- atomic on the packet
        ],
        out: pass,
      }),
  },
  "division by a constant zero": {
    hint: "division-by-zero",
    reason: "div by zero",
    says: "A constant divisor may not be 0.",
    program: () =>
      xdp("bad", {
        entry: [
          mov32(r0, 1),
          insn<never, never>({ code: 0x37, dst_reg: 0, imm: 0 }), // <- division by a constant zero
          exit(),
        ],
      }),
  },
  "shift by 64": {
    hint: "shift-count",
    reason: "invalid shift 64",
    says: "A shift by 64 is undefined",
    program: () =>
      xdp("bad", {
        entry: [
          mov32(r0, 1),
          insn<never, never>({ code: 0x67, dst_reg: 0, imm: 64 }), // <- shift by 64
          exit(),
        ],
      }),
  },
  "helper of another program type": {
    hint: "helper-not-for-type",
    reason: "program of this type cannot use helper bpf_skb_load_bytes#26",
    says: /^Programs of type xdp may not call bpf_skb_load_bytes on this kernel\. It is for programs of type .*sched_cls.* XDP reads the packet directly/,
    program: () =>
      unchecked("xdp", {
        entry: [
          mov(r2, 0),
          mov(r3, r10),
          add(r3, -8),
          mov(r4, 8),
          call(bpf_skb_load_bytes), // <- helper of another program type
          ...pass,
        ],
      }),
  },
  "helper that does not exist": {
    hint: "helper-unknown",
    reason: "invalid func unknown#9999",
    says: "This kernel has no helper number 9999",
    program: () =>
      xdp("bad", {
        entry: [
          insn<never, never>({ code: 0x85, imm: 9999 }), // <- helper that does not exist
          ...pass,
        ],
      }),
  },
  "GPL-only helper": {
    hint: "gpl-only",
    reason: /^cannot call GPL-restricted function from non-GPL compatible program$/,
    says: `bpf_trace_printk is for programs under a GPL-compatible licence, and this one declares 'MIT'.`,
    program: () =>
      xdp(
        "bad",
        {
          entry: [
            stdw([r10, -8], 0),
            mov(r1, r10),
            add(r1, -8),
            mov(r2, 8),
            call(bpf_trace_printk), // <- GPL-only helper
            ...pass,
          ],
        },
        { license: "MIT" },
      ),
  },
  "number instead of a map": {
    hint: "argument-type",
    reason: "R1 type=scalar expected=map_ptr",
    says: "Argument 1 of bpf_map_lookup_elem must be a map (lddw(register, mapFd(map))), and r1 holds a number.",
    registers: "r1=0 r2=fp-4",
    program: () =>
      xdp("bad", {
        entry: [
          mov(r1, 0),
          mov(r2, r10),
          add(r2, -4),
          call(bpf_map_lookup_elem), // <- number instead of a map
          ...pass,
        ],
      }),
  },
  "number instead of a buffer": {
    hint: "argument-type",
    reason: /^R2 type=scalar expected=fp, pkt/,
    says: "must be a pointer to memory of a known size (stack, map value, packet, ring buffer record), and r2 holds a number.",
    program: () =>
      xdp("bad", {
        entry: [
          lddw(r1, mapFd(hash)),
          mov(r2, 4),
          call(bpf_map_lookup_elem), // <- number instead of a buffer
          ...pass,
        ],
      }),
  },
  "record given back twice": {
    hint: "argument-type",
    reason: "R1 type=scalar expected=ringbuf_mem",
    says: "After it was given back once (submitted, discarded, released) it is no pointer any more.",
    program: () =>
      xdp("bad", {
        entry: [
          ...reserve(),
          jeq(r0, 0, "out"),
          mov(r6, r0),
          mov(r1, r6),
          mov(r2, 0),
          call(bpf_ringbuf_discard),
          mov(r1, r6),
          mov(r2, 0),
          call(bpf_ringbuf_discard), // <- record given back twice
        ],
        out: pass,
      }),
  },
  "number instead of a callback": {
    hint: "argument-type",
    reason: /^R2 type=scalar expected=func$/,
    says: "must be a subprogram (lddw(register, callback(subprogram)))",
    program: () =>
      xdp("bad", {
        entry: [
          mov(r1, 10),
          mov(r2, 0),
          mov(r3, 0),
          mov(r4, 0),
          call(bpf_loop), // <- number instead of a callback
          ...pass,
        ],
      }),
  },
  "variable where a constant is asked": {
    hint: "argument-constant",
    reason: /^R2 is not a known constant/,
    says: "Argument 2 of bpf_ringbuf_reserve must be a constant that the verifier can see",
    program: () =>
      xdp("bad", {
        entry: [
          ldxw(r2, [r1, xdp_md.rx_queue_index]),
          lddw(r1, mapFd(events)),
          mov(r3, 0),
          call(bpf_ringbuf_reserve), // <- variable where a constant is asked
          ...pass,
        ],
      }),
  },
  "length that may be 0": {
    hint: "argument-length",
    reason: /^R4 invalid zero-sized read: u64=\[0,15\]$/,
    says: 'the verifier cannot rule out 0. Limit it right before the call, as in jeq(r4, 0, "out"), jgt(r4, 64, "out")',
    program: () =>
      schedCls("bad", {
        entry: [
          ldxw(r4, [r1, __sk_buff.len]),
          and(r4, 15),
          mov(r2, 0),
          mov(r3, r10),
          add(r3, -16),
          call(bpf_skb_load_bytes), // <- length that may be 0
          ...pass,
        ],
      }),
  },
  "length without a limit": {
    hint: "argument-length",
    reason: "R4 min value is negative, either use unsigned or 'var &= const'",
    says: "r4 is a length that bpf_skb_load_bytes takes, and the verifier knows no limit for it. Limit it right before the call, as in and(r4, 63)",
    program: () =>
      schedCls("bad", {
        entry: [
          mov(r6, r1),
          call(bpf_ktime_get_ns),
          mov(r1, r6),
          mov(r2, 0),
          mov(r3, r10),
          add(r3, -16),
          mov(r4, r0),
          call(bpf_skb_load_bytes), // <- length without a limit
          ...pass,
        ],
      }),
  },
  "lookup in a CPU map": {
    hint: "wrong-map",
    reason: /^cannot pass map_type 16 into func bpf_map_lookup_elem#1$/,
    says: "bpf_map_lookup_elem does not work on maps of type cpumap. Programs can only redirect to it",
    program: () =>
      xdp("bad", {
        entry: [
          stw([r10, -4], 0),
          lddw(r1, mapFd(cpus)),
          mov(r2, r10),
          add(r2, -4),
          call(bpf_map_lookup_elem), // <- lookup in a CPU map
          ...pass,
        ],
      }),
  },
  "redirect to a hash map": {
    hint: "wrong-map",
    reason: /^cannot pass map_type 1 into func bpf_redirect_map#51$/,
    says: "bpf_redirect_map does not work on maps of type hash.",
    program: () =>
      xdp("bad", {
        entry: [
          lddw(r1, mapFd(hash)),
          mov(r2, 0),
          mov(r3, 0),
          call(bpf_redirect_map), // <- redirect to a hash map
          exit(),
        ],
      }),
  },
  "tail call through a hash map": {
    hint: "tail-call-map",
    reason: "expected prog array map for tail call",
    says: "bpf_tail_call takes the context in r1, a map of type prog_array in r2, and the index in r3.",
    program: () =>
      xdp("bad", {
        entry: [
          lddw(r2, mapFd(hash)),
          mov(r3, 0),
          call(bpf_tail_call), // <- tail call through a hash map
          ...pass,
        ],
      }),
  },
  "kernel function that does not exist": {
    hint: "kfunc",
    reason: "kernel btf_id 1 is not a function",
    says: "does not exist on this kernel, or programs may not call it",
    program: () =>
      xdp("bad", {
        entry: [
          insn<never, never>({ code: 0x85, src_reg: 2, imm: 1 }), // <- kernel function that does not exist
          ...pass,
        ],
      }),
  },
  "lost socket": {
    hint: "reference-leak",
    reason: /^Unreleased reference id=\d+ alloc_insn=\d+/,
    says: /^What bpf_sk_lookup_tcp gave at test\/kernel\/verifier-error\.test\.ts:\d+:\d+ is still held where the program ends\. Give it back with bpf_sk_release/,
    registers: /^refs=\d+$/,
    program: () =>
      schedCls("bad", {
        entry: [
          stdw([r10, -8], 0),
          stdw([r10, -16], 0),
          mov(r2, r10),
          add(r2, -16),
          mov(r3, 12),
          mov(r4, -1),
          mov(r5, 0),
          call(bpf_sk_lookup_tcp),
          mov32(r0, 0),
          exit(), // <- lost socket
        ],
      }),
  },
  "lost ring buffer record": {
    hint: "reference-leak",
    reason: /^Unreleased reference/,
    says: "Give it back with bpf_ringbuf_submit or bpf_ringbuf_discard on every path to exit()",
    program: () =>
      xdp("bad", {
        entry: [...reserve(), jeq(r0, 0, "out"), mov(r6, r0), mov32(r0, XDP_PASS)],
        out: [
          mov32(r0, XDP_PASS),
          exit(), // <- lost ring buffer record
        ],
      }),
  },
  "lock in a map without one": {
    hint: "spin-lock-map",
    reason: /^map 'single' has (?:to have BTF in order to use|no valid) bpf_spin_lock$/,
    says: "A lock is a field of the map's value of type struct bpf_spin_lock",
    program: () =>
      schedCls("bad", {
        entry: [
          ...lookup(single),
          jeq(r0, 0, "out"),
          mov(r1, r0),
          call(bpf_spin_lock), // <- lock in a map without one
        ],
        out: pass,
      }),
  },
  "call while a lock is held": {
    hint: "lock-held",
    reason: "function calls are not allowed while holding a lock",
    says: "Between bpf_spin_lock and bpf_spin_unlock a program may only load, store and compute",
    program: () =>
      schedCls("bad", {
        entry: [
          ...lookup(locked),
          jeq(r0, 0, "out"),
          mov(r6, r0),
          mov(r1, r6),
          call(bpf_spin_lock),
          call(bpf_get_prandom_u32), // <- call while a lock is held
          mov(r1, r6),
          call(bpf_spin_unlock),
        ],
        out: pass,
      }),
  },
  "calls nine deep": {
    hint: "call-depth",
    reason: "the call stack of 9 frames is too deep",
    says: "Functions may call each other 8 deep, and never themselves.",
    program: () => {
      let inner = subprogram("depth_9", { entry: [mov32(r0, 0), exit()] });
      for (let depth = 8; depth > 0; depth--) {
        inner = subprogram(`depth_${depth}`, {
          entry: [
            call(inner), // <- calls nine deep
            exit(),
          ],
        });
      }
      return xdp("bad", { entry: [call(inner), ...pass] });
    },
  },
  "loop without an end": {
    hint: "unbounded-loop",
    reason: "infinite loop detected at insn 1",
    says: "The loop comes round with nothing changed",
    registers: /^r0=0 r1=ctx\(\) r10=fp0$/,
    program: () =>
      xdp("bad", {
        entry: [mov32(r0, 0)],
        loop: [
          jne(r0, 1, "loop"), // <- loop without an end
          exit(),
        ],
      }),
  },
  "more branches than the verifier follows": {
    hint: "too-complex",
    reason: /^The sequence of 8193 jumps is too complex/,
    says: "The verifier follows every path through the program and every round of a loop, and gave up.",
    program: () => {
      const branches = Array.from(
        { length: 9000 },
        (_, index) => jeq(r0, index, "out"), // <- more branches than the verifier follows
      );
      return xdp("bad", { entry: [call(bpf_get_prandom_u32), ...branches], out: pass });
    },
  },
  "result out of range": {
    hint: "return-range",
    reason: /R0 has .*should have been in \[0, 1\]$/,
    says: "A program of type cgroup_skb (cgroup_inet_ingress) must return a number in [0, 1], and this one returns 5.",
    registers: "r0=5",
    program: () =>
      unchecked(
        "cgroup_skb",
        {
          entry: [
            mov32(r0, 5),
            exit(), // <- result out of range
          ],
        },
        { attachType: "cgroup_inet_ingress" },
      ),
  },
  "unknown instruction": {
    hint: "invalid-instruction",
    reason: "unknown opcode 8f",
    says: "This kernel does not know the instruction (code 0x8f)",
    program: () =>
      xdp("bad", {
        entry: [
          insn<never, never>({ code: 0x8f }), // <- unknown instruction
          ...pass,
        ],
      }),
  },
  "dead code": {
    hint: "unreachable",
    reason: "unreachable insn 2",
    says: "Nothing leads to this instruction, and the verifier takes no dead code",
    program: () =>
      xdp("bad", {
        entry: [
          mov32(r0, XDP_PASS),
          jeq(r0, 0, "out"),
          mov32(r0, XDP_PASS), // <- dead code
        ],
        out: [exit()],
      }),
    spoil: (assembled) => replaceInsn(assembled, 1, ja("out")),
  },
  "function without an end": {
    hint: "no-exit",
    reason: "last insn is not an exit or jmp",
    says: "A function must end in exit() or a jump",
    program: () =>
      xdp("bad", {
        entry: [
          mov32(r0, XDP_PASS),
          exit(), // <- function without an end
        ],
      }),
    spoil: (assembled) => replaceInsn(assembled, 1, mov32(r0, 0)),
  },
  "jump out of the program": {
    hint: "jump-target",
    reason: /^jump out of range from insn 1 to 102$/,
    says: "The jump leads out of its function",
    program: () =>
      xdp("bad", {
        entry: [
          mov32(r0, XDP_PASS),
          insn<never, never>({ code: 0x15, dst_reg: 0, off: 100 }), // <- jump out of the program
          exit(),
        ],
      }),
  },
};

/** Puts another instruction in the place of one, with the jump offset that stood there. */
function replaceInsn(assembled: Assembled, index: number, by: Insn): Assembled {
  const lines = assembled.lines.map((line, at) =>
    at === index ? { ...line, insn: { ...by, off: line.insn.off, source: line.insn.source } } : line,
  );
  return { ...assembled, lines };
}

function refusalOf({ program: make, spoil }: Mistake): VerifierError {
  const bad = make();
  if (spoil !== undefined) return refusalOfRaw(spoil(assemble(bad)));
  return catchVerifierError(() => {
    const maps = assemble(bad).maps.map((def) => BpfMap.create(def));
    try {
      BpfProgram.load(bad, { maps }).close();
    } finally {
      for (const map of maps) map.close();
    }
  });
}

function refusalOfRaw(assembled: Assembled): VerifierError {
  const { result, log } = loadWithLog(linuxSyscalls(), {
    prog_type: progTypeNumber(assembled.program.type),
    insns: encode(assembled.lines.map((line) => line.insn)),
    license: "GPL",
    log_level: 1,
  });
  expect(result).toBeLessThan(0);
  return new VerifierError(assembled, -result, log, createSourceText());
}

function catchVerifierError(load: () => void): VerifierError {
  try {
    load();
  } catch (error) {
    if (error instanceof VerifierError) return error;
    throw error;
  }
  throw new Error("the verifier took the program");
}

function markedLine(name: string): number {
  const line = SOURCE.findIndex((text) => text.endsWith(`// <- ${name}`)) + 1;
  if (line === 0) throw new Error(`no line is marked '// <- ${name}'`);
  return line;
}

describeKernel("a refused program", () => {
  test.each(Object.entries(MISTAKES))("%s", (name, mistake) => {
    const error = refusalOf(mistake);
    const line = markedLine(name);
    expect(error.reason).toEqual(
      typeof mistake.reason === "string" ? mistake.reason : expect.stringMatching(mistake.reason),
    );
    expect(error.hintId).toBe(mistake.hint);
    expect(error.hint).toEqual(
      typeof mistake.says === "string"
        ? expect.stringContaining(mistake.says)
        : expect.stringMatching(mistake.says),
    );
    expect(error.source).toMatchObject({ file: FILE, line });
    expect(error.sourceText).toBe(SOURCE[line - 1]?.trim());
    expect(error.log).toContain("processed ");

    const lines = error.message.split("\n");
    expect(lines[0]).toBe(`the verifier refused program 'bad': ${error.reason}`);
    expect(lines[1]).toMatch(
      new RegExp(
        `^  test/kernel/verifier-error\\.test\\.ts:${line}:\\d+ \\(.*block '\\w+', instruction ${error.insn}[:)]`,
      ),
    );
    expect(error.message).toMatch(new RegExp(`^  > ${line} \\| .*// <- ${name}$`, "m"));
    if (mistake.registers !== undefined) {
      const shown = /^ {2}registers: (.*)$/m.exec(error.message)?.[1];
      expect(shown).toEqual(
        typeof mistake.registers === "string" ? mistake.registers : expect.stringMatching(mistake.registers),
      );
    }
    expect(error.message.endsWith(`\n  ${error.hint}`)).toBe(true);
  });

  test("its message, whole", () => {
    const error = refusalOf({
      ...(MISTAKES["packet read without a check"] as Mistake),
      program: () => {
        const read = subprogram("read_proto", {
          entry: [ldxw(r2, [r1, xdp_md.data]), mov32(r0, 0)],
          read: [ldxb(r0, [r2, 23])], // <- whole message
          out: [exit()],
        });
        return xdp("count_bytes", { entry: [call(read), ...pass] });
      },
    });
    const line = markedLine("whole message");
    const text = (at: number): string => SOURCE[at - 1]?.slice(8) ?? "";
    expect(error.message).toBe(
      [
        "the verifier refused program 'count_bytes': invalid access to packet, off=23 size=1, R2(id=0,off=23,r=0); R2 offset is outside of the packet",
        `  test/kernel/verifier-error.test.ts:${line}:18 (subprogram 'read_proto', block 'read', instruction 5: r0 = *(u8 *)(r2 +23))`,
        `    ${line - 2} | ${text(line - 2)}`,
        `    ${line - 1} | ${text(line - 1)}`,
        `  > ${line} | ${text(line)}`,
        `    ${" ".repeat(String(line).length)} | ${" ".repeat(9)}^`,
        "  registers: r0=0 r2=pkt(r=0)",
        `  The verifier's whole log, ${error.log.trimEnd().split("\n").length} lines, is in the error's property log.`,
        '  Compare r2 + 24 with data_end first: mov(r4, r2), add(r4, 24), jgt(r4, r3, "out"), with data_end in r3. A pointer that is loaded from the context again must be compared again, and a test of the length (data_end - data) does not count.',
      ].join("\n"),
    );
    expect(error).toMatchObject({ name: "VerifierError", program: "count_bytes", code: "EACCES", insn: 5 });
    expect(error.state.get("r2")).toBe("pkt(r=0)");
    expect(error.report).toBeUndefined();
  });

  test("names the sizes where no instruction is to blame", () => {
    const inner = subprogram("inner", { entry: [stdw([r10, -400], 0), mov32(r0, 0), exit()] });
    const bad = xdp("bad", { entry: [stdw([r10, -400], 0), call(inner), ...pass] });
    const error = catchVerifierError(() => BpfProgram.load(bad));
    expect(error.reason).toBe("combined stack size of 2 calls is 800. Too large");
    expect(error.hintId).toBe("stack-depth");
    expect(error.hint).toContain("(of bad, inner) use 800 bytes of stack together, and may use 512.");
    expect(error).toMatchObject({ insn: undefined, source: undefined, sourceText: "" });
    expect(error.message).not.toContain("undefined");
  });

  test("what only CAP_PERFMON may do", () => {
    // Dropping a capability cannot be undone, so another process does it.
    const child = fileURLToPath(new URL("./verifier-error-unprivileged.ts", import.meta.url));
    const kept = ["--bounding-set=-all,+bpf,+net_admin", "--inh-caps=-all,+bpf,+net_admin"];
    const output = execFileSync("setpriv", [...kept, process.execPath, "--import", "tsx", child], {
      encoding: "utf8",
      cwd: fileURLToPath(new URL("../..", import.meta.url)),
    });
    expect(JSON.parse(output)).toEqual([
      {
        hintId: "stack-uninitialized",
        sourceText: "ldxdw(r6, [r10, -8]), // uninitialized",
        reason: expect.stringMatching(/^invalid read from stack .*-8.*size.8$/),
      },
      {
        hintId: "spill-corrupted",
        sourceText: "stb([r10, -8], 0), // corrupted",
        reason: "attempt to corrupt spilled pointer on stack",
      },
      { hintId: "pointer-leak", sourceText: "exit(), // leak", reason: "R0 leaks addr as return value" },
    ]);
  });
});

describeKernel("the verifier's log", () => {
  const long = Array.from({ length: 4000 }, (_, index) => mov32(r0, index));

  test("is whole where the first buffer is too small and the program is refused", () => {
    const bad = xdp("bad", { entry: [...long, mov(r0, r6), exit()] });
    const error = catchVerifierError(() => BpfProgram.load(bad));
    expect(error.log.length).toBeGreaterThan(2 * 64 * 1024);
    expect(error.log.startsWith("0: R1=ctx() R10=fp0\n")).toBe(true);
    for (const [index] of long.entries()) expect(error.log).toContain(`\n${index}: (b4) w0 = ${index} `);
    expect(error.log.trimEnd()).toMatch(/\nR6 !read_ok\nprocessed 4001 insns .*$/);
    expect(error).toMatchObject({ code: "EACCES", hintId: "uninitialized-register", insn: 4000 });
  });

  test("is whole where the first buffer is too small and the program is taken", () => {
    using prog = BpfProgram.load(xdp("good", { entry: [...long, ...pass] }), { logLevel: 2 });
    expect(prog.log.length).toBeGreaterThan(2 * 64 * 1024);
    for (const [index] of long.entries()) expect(prog.log).toContain(`\n${index}: (b4) w0 = ${index} `);
    expect(prog.log.trimEnd()).toMatch(/\nprocessed 4002 insns .*$/);
  });

  test("is whole where it takes tens of megabytes", { timeout: 120_000 }, () => {
    // Nothing prunes a loop that counts: the verifier follows it to its limit of a million instructions.
    const bad = xdp("bad", {
      entry: [mov(r6, 0)],
      loop: [add(r6, 1), lddw(r1, 10_000_000), jlt(r6, r1, "loop"), ...pass],
    });
    const error = catchVerifierError(() => BpfProgram.load(bad));
    expect(error).toMatchObject({ code: "E2BIG", hintId: "too-complex" });
    expect(error.log.length).toBeGreaterThan(0xff_ffff); // what kernels before 5.2 can give
    expect(error.log.startsWith("0: R1=ctx() R10=fp0\n")).toBe(true);
    expect(error.log.trimEnd()).toMatch(/\nprocessed \d+ insns .*$/);
    expect(error.reason).toMatch(/^BPF program is too large\. Processed \d+ insn$/);
    expect(error.state.get("r6")).toMatch(/^0x/);
    expect(error.message.length).toBeLessThan(2000);
  });
});
