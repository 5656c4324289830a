/**
 * What the examples of TSDoc take for granted: names that say what they stand for, as in `attachXdp(prog, "eth0")`. Here are
 * their types, for the compiler; test/kernel/docs/example-values.ts has what stands behind them when they run.
 */
import type { Program } from "tsbpf/asm";
import type { Btf, BtfBuilder } from "tsbpf/btf";
import type { BpfMap, BpfProgram, EventReader, PerfMap, Syscalls } from "tsbpf/kernel";
import type { Layout } from "tsbpf/layout";

export declare const sys: Syscalls;
export declare const fd: { readonly number: number };

// Programs in the kernel, and before.
export declare const prog: BpfProgram;
export declare const better: BpfProgram;
export declare const count: BpfProgram;
export declare const filter: BpfProgram;
export declare const policy: BpfProgram;
export declare const ssthresh: BpfProgram;
export declare const cong_avoid: BpfProgram;
export declare const undo_cwnd: BpfProgram;
export declare const onConnect: Program<"tracing">;

// Maps, and what is in them.
export declare const events: BpfMap<"ringbuf">;
export declare const flows: BpfMap<"hash", number, number>;
export declare const lostMap: BpfMap<"array", number, number>;
export declare const samplesMap: PerfMap;
export declare const commandsMap: BpfMap<"user_ringbuf">;
export declare const Event: Layout<{ pid: number; comm: string }>;
export declare const Command: Layout<{ op: number; pid: number }>;
export declare const execs: EventReader<{ pid: number; comm: string }>;
export declare const exits: EventReader<{ pid: number; code: number }>;

// Bytes.
export declare const packet: Uint8Array;
export declare const record: Uint8Array;
export declare const code: Uint8Array;
export declare const key: Uint8Array;
export declare const value: Uint8Array;

// BTF.
export declare const vmlinux: Btf;
export declare const btf: Btf;
export declare const builder: BtfBuilder;
