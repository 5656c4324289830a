import { linkCreate } from "../../syscall/bpf-link.ts";
import { linuxSyscalls } from "../../syscall/ffi.ts";
import { BPF_F_KPROBE_MULTI_RETURN, BPF_TRACE_KPROBE_MULTI } from "../../uapi/bpf.ts";
import type { KernelOptions } from "../map.ts";
import { kernelBefore } from "../privileges.ts";
import type { BpfProgram } from "../program.ts";
import { BpfLink } from "./bpf-link.ts";
import { attempt } from "./explain.ts";
import type { Link } from "./link.ts";
import { openPerfLink } from "./perf-link.ts";
import { probeConfig, probePmu } from "./probe-pmu.ts";
import type { CookieOptions } from "./tracepoint.ts";

/** Where in the kernel a probe goes. */
export type KprobeTarget = string | { readonly function: string; readonly offset: number };

/** Options of {@link attachKprobe}. */
export interface AttachKprobeOptions extends CookieOptions {
  /** Run when the function returns, instead of when it is called. Default false. */
  readonly returns?: boolean;
}

/**
 * Attaches a program of type `kprobe` to a function of the kernel (kernel 4.17, CONFIG_KPROBE_EVENTS). Its context is
 * `pt_regs`.
 *
 * @param target - a function of /proc/kallsyms, or some bytes into one.
 * @throws UnsupportedError where the kernel has no kprobes; TsbpfError ENOENT where it has no such function.
 */
export function attachKprobe(
  program: BpfProgram,
  target: KprobeTarget,
  options: AttachKprobeOptions = {},
): Link {
  const { sys = linuxSyscalls(), returns = false, cookie } = options;
  const { function: name, offset } = typeof target === "string" ? { function: target, offset: 0 } : target;
  const what = `attach '${program.name}' to kernel function ${name}`;
  const type = probePmu("kprobe", what);
  const config = probeConfig("kprobe", returns);
  return attempt(
    {
      what,
      feature: { feature: "kprobes", since: "4.17", needs: "CONFIG_KPROBE_EVENTS=y" },
      hints: {
        ENOENT:
          "No function of this name is in /proc/kallsyms: it may be inlined, or in a module that is not loaded.",
        EINVAL:
          "It takes a program of type kprobe, and a function that may be probed (not notrace or __kprobes).",
        EADDRNOTAVAIL: "Several functions have this name.",
      },
    },
    () =>
      openPerfLink(sys, program, `kprobe ${name}`, {
        event: { type, config, kprobe_func: name, probe_offset: offset },
        target: { pid: -1, cpu: 0 },
        cookie,
        facts: {
          type: returns ? "kretprobe" : "kprobe",
          function: name,
          offset,
          address: 0n,
          missed: 0n,
          cookie: BigInt(cookie ?? 0),
        },
      }),
  );
}

/** Options of {@link attachKprobeMulti}. */
export interface AttachKprobeMultiOptions extends KernelOptions {
  /** Run when the functions return, instead of when they are called. Default false. */
  readonly returns?: boolean;
  /** One cookie for each function, in their order. */
  readonly cookies?: readonly (number | bigint)[];
}

/**
 * Attaches a program to many functions of the kernel at once (kernel 5.18, CONFIG_FPROBE). The program is of type `kprobe`
 * and was loaded with the attach type `trace_kprobe_multi`.
 *
 * @param functions - names of /proc/kallsyms, each exactly once there.
 * @throws UnsupportedError where the kernel has no fprobes; TsbpfError ESRCH where it lacks one of the functions.
 */
export function attachKprobeMulti(
  program: BpfProgram,
  functions: readonly string[],
  options: AttachKprobeMultiOptions = {},
): Link {
  const { sys = linuxSyscalls(), returns = false, cookies } = options;
  return attempt(
    {
      what: `attach '${program.name}' to ${functions.length} kernel functions`,
      feature: {
        feature: "kprobe_multi links",
        since: "5.18",
        needs: "CONFIG_FPROBE=y",
        lacking: (code) => code === "EOPNOTSUPP" || (code === "EINVAL" && kernelBefore(5, 18)),
        instead: "Tracepoints and tp_btf programs see many of the same events.",
      },
      hints: {
        ESRCH: "One of the functions is not in /proc/kallsyms, or is there more than once.",
        EINVAL: "It takes a program of type kprobe with the attach type trace_kprobe_multi.",
      },
    },
    () => {
      const fd = linkCreate(sys, {
        prog_fd: program.fd,
        attach_type: BPF_TRACE_KPROBE_MULTI,
        kprobe_multi: {
          syms: functions,
          cookies: cookies && BigUint64Array.from(cookies, BigInt),
          flags: returns ? BPF_F_KPROBE_MULTI_RETURN : 0,
        },
      });
      return BpfLink.own(sys, fd, "kprobe_multi link");
    },
  );
}
