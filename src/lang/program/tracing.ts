import type { Program } from "../../asm/program.ts";
import type { Layout } from "../../btf/layout/layout.ts";
import type { StructLayout } from "../../btf/layout/struct.ts";
import { rawTracepointContext } from "./context.ts";
import { build, type LangOptions, type MustExit, type ScopeOf } from "./program.ts";

// The programs that watch: at tracepoints, at functions, at samples of a counter.

/** What a raw tracepoint's program is given. */
export type RawTracepointScope<L extends Layout = typeof rawTracepointContext> = ScopeOf<
  "raw_tracepoint",
  L,
  number
>;
/** What a typed raw tracepoint's program is given; with the result 0, one at the start or the end of a kernel function. */
export type TracingScope<L extends Layout, Result = number> = ScopeOf<"tracing", L, Result>;

/**
 * A program on a tracepoint: `$.ctx` has the fields of the event's record. `tracepointLayout` of `tsbpf/kernel` takes the layout
 * from the running kernel. Its result does not matter.
 *
 * @throws LangError for what cannot be built, naming the line of TypeScript.
 * @example
 * ```ts
 * const Exit = tracepointLayout("sched:sched_process_exit", { comm: array(char, 16), pid: u32 });
 * const exits = tracepoint("exits", Exit, ($) => {
 *   $.printk`${$.ctx.pid} ends`;
 *   return $.return(0);
 * });
 * ```
 */
export function tracepoint<L extends Layout, B>(
  name: string,
  event: L,
  body: ($: ScopeOf<"tracepoint", L, number>) => B & MustExit<B>,
  options?: LangOptions,
): Program<"tracepoint"> {
  return build("tracepoint", name, event, body, options);
}

/**
 * A program on a raw tracepoint, whose context is the tracepoint's own arguments: by name where their layout is given
 * (`tracepointArguments` of `tsbpf/kernel`), by number in `$.ctx.args` where not. Pointers in them are addresses to the verifier,
 * which helpers read at. Its result does not matter. Kernel 4.17.
 *
 * @throws LangError for what cannot be built, naming the line of TypeScript.
 * @example
 * ```ts
 * const reboot = rawTracepoint("reboot", ($) => {
 *   $.if($.ctx.args.at(1).eq(169), () => $.printk`somebody calls reboot(2)`); // sys_enter, on x86-64
 *   return $.return(0);
 * });
 * ```
 */
export function rawTracepoint<L extends Layout, B>(
  name: string,
  args: L,
  body: ($: RawTracepointScope<L>) => B & MustExit<B>,
  options?: LangOptions,
): Program<"raw_tracepoint">;
export function rawTracepoint<B>(
  name: string,
  body: ($: RawTracepointScope) => B & MustExit<B>,
  options?: LangOptions,
): Program<"raw_tracepoint">;
export function rawTracepoint(name: string, ...rest: readonly unknown[]): Program<"raw_tracepoint"> {
  const [args, body, options] = typeof rest[0] === "function" ? [rawTracepointContext, ...rest] : rest;
  return build("raw_tracepoint", name, args as Layout, body as () => unknown, options as LangOptions);
}

/**
 * A program on a raw tracepoint whose arguments the verifier knows the types of (`tp_btf` of libbpf): pointers to structs of the
 * kernel are followed by plain loads, and may be given to helpers and kernel functions with `$.pointer`. It is loaded for the
 * tracepoint that its arguments are of. Kernel 5.5.
 *
 * @param args - of `tracepointArguments` of `tsbpf/kernel`.
 * @throws LangError for what cannot be built, naming the line of TypeScript.
 * @example
 * ```ts
 * const Task = kernelLayout("task_struct", { pid: s32, real_parent: pointer(kernelLayout("task_struct", { pid: s32 })) });
 * const Exec = tracepointArguments("sched_process_exec", { p: pointer(Task) });
 * const onExec = tpBtf("on_exec", Exec, ($) => {
 *   $.printk`${$.ctx.p.pid} of ${$.ctx.p.real_parent.pid}`;
 *   return $.return(0);
 * });
 * ```
 */
export function tpBtf<L extends StructLayout, B>(
  name: string,
  args: L,
  body: ($: TracingScope<L>) => B & MustExit<B>,
  options?: LangOptions,
): Program<"tracing"> {
  return build("tracing", name, args, body, { attachTo: args.name, ...options, attachType: "trace_raw_tp" });
}

/**
 * A program at the start of a kernel function, with its arguments as the verifier knows them. It is loaded for the function that
 * its arguments are of. The kernel takes no other result than 0. Kernel 5.5; some kernels, confined ones among them, take none.
 *
 * @param args - of `functionArguments` of `tsbpf/kernel`.
 * @throws LangError for what cannot be built, naming the line of TypeScript.
 */
export function fentry<L extends StructLayout, B>(
  name: string,
  args: L,
  body: ($: TracingScope<L, 0>) => B & MustExit<B>,
  options?: LangOptions,
): Program<"tracing"> {
  return build("tracing", name, args, body, { attachTo: args.name, ...options, attachType: "trace_fentry" });
}

/** A program at the end of a kernel function: {@link fentry}, with the function's result as `$.ctx.result`. */
export function fexit<L extends StructLayout, B>(
  name: string,
  args: L,
  body: ($: TracingScope<L, 0>) => B & MustExit<B>,
  options?: LangOptions,
): Program<"tracing"> {
  return build("tracing", name, args, body, { attachTo: args.name, ...options, attachType: "trace_fexit" });
}

/**
 * A program on a kernel function or on one of a process (kprobes, uprobes): `$.ctx` has the machine's registers, `registers` their
 * layout. Arguments that are addresses are followed with `$.view`. Its result does not matter.
 *
 * @param layout - of `struct pt_regs`: `registers(process.arch)`.
 * @throws LangError for what cannot be built, naming the line of TypeScript.
 * @example
 * ```ts
 * const Sock = kernelLayout("sock", { sk_protocol: u16 });
 * const connects = kprobe("connects", registers(process.arch), ($) => {
 *   const sk = $.view($.ctx.arg0, Sock); // the first argument of tcp_connect
 *   $.printk`protocol ${sk.sk_protocol}`;
 *   return $.return(0);
 * });
 * ```
 */
export function kprobe<L extends Layout, B>(
  name: string,
  layout: L,
  body: ($: ScopeOf<"kprobe", L, number>) => B & MustExit<B>,
  options?: LangOptions,
): Program<"kprobe"> {
  return build("kprobe", name, layout, body, options);
}

/**
 * A program that runs at samples of a counter, of the machine or of the kernel: `$.ctx` has the registers at that moment. Kernel
 * 4.9. 0 keeps the sample from the ring of the perf event itself.
 *
 * @param layout - `perfEventContext(process.arch)`.
 * @throws LangError for what cannot be built, naming the line of TypeScript.
 * @example
 * ```ts
 * const samples = mapDef({ name: "samples", type: "hash", key: u64, value: u64, maxEntries: 4096 });
 * const profile = perfEvent("profile", perfEventContext(process.arch), ($) => {
 *   const { ip } = $.ctx;
 *   $.lookup(samples, ip, (count) => $.atomic.add(count, 1)).else(() => $.update(samples, ip, 1));
 *   return $.return(0);
 * });
 * ```
 */
export function perfEvent<L extends Layout, B>(
  name: string,
  layout: L,
  body: ($: ScopeOf<"perf_event", L, number>) => B & MustExit<B>,
  options?: LangOptions,
): Program<"perf_event"> {
  return build("perf_event", name, layout, body, options);
}
