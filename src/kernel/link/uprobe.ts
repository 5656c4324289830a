import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { TsbpfError } from "../../base/error.ts";
import { suggest } from "../../base/suggest.ts";
import { linkCreate } from "../../syscall/bpf-link.ts";
import { linuxSyscalls } from "../../syscall/ffi.ts";
import { BPF_F_UPROBE_MULTI_RETURN, BPF_TRACE_UPROBE_MULTI } from "../../uapi/bpf.ts";
import type { KernelOptions } from "../map.ts";
import { kernelBefore } from "../privileges.ts";
import type { BpfProgram } from "../program.ts";
import { BpfLink } from "./bpf-link.ts";
import { elfFunctions } from "./elf.ts";
import { attempt } from "./explain.ts";
import type { Link } from "./link.ts";
import { openPerfLink } from "./perf-link.ts";
import { probeConfig, probePmu } from "./probe-pmu.ts";
import type { CookieOptions } from "./tracepoint.ts";

/** Where in a file a probe goes: at a function, or some bytes into one, or some bytes into the file. */
export type UprobeTarget =
  | { readonly path: string; readonly symbol: string; readonly offset?: number }
  | { readonly path: string; readonly fileOffset: number };

/** Options of {@link attachUprobe}. */
export interface AttachUprobeOptions extends CookieOptions {
  /** Run when the function returns, instead of when it is called. Default false. */
  readonly returns?: boolean;
  /** Only in this process; default in every one that has the file mapped, now or later. */
  readonly pid?: number;
}

/**
 * Attaches a program of type `kprobe` to a function of an executable or a library (kernel 4.17, CONFIG_UPROBE_EVENTS). Its
 * context is the `pt_regs` of the thread, from the moment before the instruction runs.
 *
 * @throws TsbpfError where the file has no such function (with one that is like it), or the kernel cannot put a probe
 * there; UnsupportedError where it has no uprobes.
 * @example
 * ```ts
 * using link = attachUprobe(prog, { path: "/lib/x86_64-linux-gnu/libc.so.6", symbol: "malloc" });
 * ```
 */
export function attachUprobe(
  program: BpfProgram,
  target: UprobeTarget,
  options: AttachUprobeOptions = {},
): Link {
  const { sys = linuxSyscalls(), returns = false, pid = -1, cookie } = options;
  const { path } = target;
  const offset = fileOffset(target);
  const where = describe(target);
  const type = probePmu("uprobe", `attach '${program.name}' to ${where}`);
  return attempt(
    {
      what: `attach '${program.name}' to ${where}`,
      feature: { feature: "uprobes", since: "4.17", needs: "CONFIG_UPROBE_EVENTS=y" },
      hints: UPROBE_HINTS,
    },
    () =>
      openPerfLink(sys, program, `uprobe ${where}`, {
        event: { type, config: probeConfig("uprobe", returns), uprobe_path: path, probe_offset: offset },
        target: { pid, cpu: pid === -1 ? 0 : -1 },
        cookie,
        facts: { type: returns ? "uretprobe" : "uprobe", path, offset, cookie: BigInt(cookie ?? 0) },
      }),
  );
}

/** The functions of one file for {@link attachUprobeMulti}. */
export interface UprobeMultiTarget {
  readonly path: string;
  /** Functions by name, or all whose names match. */
  readonly symbols: readonly string[] | RegExp;
}

/** Options of {@link attachUprobeMulti}. */
export interface AttachUprobeMultiOptions extends KernelOptions {
  /** Run when the functions return, instead of when they are called. Default false. */
  readonly returns?: boolean;
  /** Only in this process; default in all. */
  readonly pid?: number;
  /** One cookie for each of `symbols`, in their order. */
  readonly cookies?: readonly (number | bigint)[];
}

/**
 * Attaches a program to many functions of one file at once (kernel 6.6). The program is of type `kprobe` and was loaded with
 * the attach type `trace_uprobe_multi`.
 *
 * @throws as {@link attachUprobe}.
 */
export function attachUprobeMulti(
  program: BpfProgram,
  target: UprobeMultiTarget,
  options: AttachUprobeMultiOptions = {},
): Link {
  const { sys = linuxSyscalls(), returns = false, pid, cookies } = options;
  const offsets = fileOffsets(target);
  return attempt(
    {
      what: `attach '${program.name}' to ${offsets.length} functions of ${target.path}`,
      feature: {
        feature: "uprobe_multi links",
        since: "6.6",
        needs: "CONFIG_UPROBES=y",
        lacking: (code) => code === "EOPNOTSUPP" || (code === "EINVAL" && kernelBefore(6, 6)),
        instead: "attachUprobe attaches to one function at a time.",
      },
      hints: {
        ...UPROBE_HINTS,
        EINVAL: "It takes a program of type kprobe with the attach type trace_uprobe_multi.",
      },
    },
    () => {
      const fd = linkCreate(sys, {
        prog_fd: program.fd,
        attach_type: BPF_TRACE_UPROBE_MULTI,
        uprobe_multi: {
          path: target.path,
          offsets: BigUint64Array.from(offsets, BigInt),
          cookies: cookies && BigUint64Array.from(cookies, BigInt),
          flags: returns ? BPF_F_UPROBE_MULTI_RETURN : 0,
          pid,
        },
      });
      return BpfLink.own(sys, fd, `uprobe_multi link of ${target.path}`);
    },
  );
}

/**
 * The functions of an executable or a library by name, with their offset in the file.
 *
 * @throws TsbpfError where it is no ELF file; ENOENT and its kin of the file system.
 */
export function readElfFunctions(path: string): ReadonlyMap<string, number> {
  const file = openSync(path, "r");
  try {
    const { size } = fstatSync(file);
    const read = (offset: number, length: number): Uint8Array => {
      const bytes = new Uint8Array(Math.max(0, Math.min(length, size - offset)));
      return bytes.subarray(0, readSync(file, bytes, 0, bytes.length, offset));
    };
    const functions = new Map<string, number>();
    for (const { name, offset } of elfFunctions(read, path)) {
      if (!functions.has(name)) functions.set(name, offset);
    }
    return functions;
  } finally {
    closeSync(file);
  }
}

const UPROBE_HINTS: Readonly<Record<string, string>> = {
  EINVAL:
    "It takes a program of type kprobe, and the beginning of an instruction in a mapped, executable part.",
  EIO: "The file system of the file cannot be probed.",
  ENOTSUPP: "The instruction there cannot be probed.",
  ESRCH: "There is no such process.",
};

function fileOffset(target: UprobeTarget): number {
  if ("fileOffset" in target) return target.fileOffset;
  const { path, symbol, offset = 0 } = target;
  return find(readElfFunctions(path), path, symbol) + offset;
}

function fileOffsets({ path, symbols }: UprobeMultiTarget): readonly number[] {
  const functions = readElfFunctions(path);
  if (!(symbols instanceof RegExp)) return symbols.map((symbol) => find(functions, path, symbol));
  // Several names may stand for one function; the kernel takes each offset once.
  const matching = [...functions].filter(([name]) => symbols.test(name)).map(([, offset]) => offset);
  if (matching.length > 0) return [...new Set(matching)];
  throw new TsbpfError(`${path} has no function whose name matches ${symbols}`);
}

function find(functions: ReadonlyMap<string, number>, path: string, symbol: string): number {
  const offset = functions.get(symbol);
  if (offset !== undefined) return offset;
  // Comparing with each of a hundred thousand names takes seconds.
  const similar = [...functions.keys()].filter((name) => name.startsWith(symbol.slice(0, 2)));
  throw new TsbpfError(`${path} has no function '${symbol}'`, {
    hint:
      suggest(symbol, similar) ??
      (functions.size === 0
        ? "It has no symbols: it was stripped. Give a fileOffset."
        : "It may be inlined, stripped, in a library that the executable loads, or chosen when it runs (memcpy and its kin)."),
  });
}

function describe(target: UprobeTarget): string {
  if ("fileOffset" in target) return `${target.path}+0x${target.fileOffset.toString(16)}`;
  const { path, symbol, offset = 0 } = target;
  return `${path}:${symbol}${offset === 0 ? "" : `+0x${offset.toString(16)}`}`;
}
