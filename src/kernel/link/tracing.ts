import { type LinkCreateAttr, linkCreate } from "../../syscall/bpf-link.ts";
import { rawTracepointOpen } from "../../syscall/bpf-prog.ts";
import { SyscallError } from "../../syscall/errno.ts";
import { linuxSyscalls } from "../../syscall/ffi.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { BPF_PROG_TYPE_EXT } from "../../uapi/bpf.ts";
import { kernelBefore } from "../privileges.ts";
import type { BpfProgram } from "../program.ts";
import { BpfLink } from "./bpf-link.ts";
import { attempt } from "./explain.ts";
import type { Link } from "./link.ts";
import { attachTypeNumber } from "./names.ts";
import type { CookieOptions } from "./tracepoint.ts";

/**
 * Attaches a program that was loaded for its target (`attachTo`): fentry, fexit and fmod_ret (attach types `trace_fentry`,
 * `trace_fexit`, `modify_return`; kernel 5.5, 5.7), a security hook (`lsm_mac`; kernel 5.7, CONFIG_BPF_LSM and `bpf` in the
 * boot parameter `lsm=`), or an extension that replaces a function of another program (type `ext`; kernel 5.6).
 *
 * Cookies: kernel 5.19, for a program that this process loaded.
 *
 * @throws TsbpfError: EBUSY where the target has too many programs, EINVAL for a program of another type. Whether the kernel
 * takes such programs at all, loading tells.
 * @example
 * ```ts
 * using prog = BpfProgram.load(onConnect, { attachTo: "tcp_connect" });
 * using link = attachTracing(prog);
 * ```
 */
export function attachTracing(program: BpfProgram, options: CookieOptions = {}): Link {
  const { sys = linuxSyscalls(), cookie } = options;
  return attempt(
    {
      what: `attach '${program.name}' to the function it was loaded for`,
      feature: {
        feature: "cookies of tracing links",
        since: "5.19",
        lacking: (code) => cookie !== undefined && code === "EINVAL" && kernelBefore(5, 19),
      },
      hints: {
        EBUSY: "The function has as many programs as it takes (38), or a program that must be alone.",
        EINVAL: "It takes a program of type tracing, lsm or ext that was loaded with attachTo.",
      },
    },
    () => BpfLink.own(sys, create(sys, program, cookie), "tracing link", "tracing"),
  );
}

/** The older command knows no cookies and not every attach type; the newer one must be told the attach type. */
function create(sys: Syscalls, program: BpfProgram, cookie: number | bigint | undefined): number {
  const attach_type = attachTypeOf(program);
  if (attach_type === undefined) return rawTracepointOpen(sys, { prog_fd: program.fd });
  const a: LinkCreateAttr = { prog_fd: program.fd, attach_type };
  try {
    return linkCreate(sys, cookie === undefined ? a : { ...a, tracing: { cookie } });
  } catch (error) {
    const old = error instanceof SyscallError && error.code === "EINVAL" && cookie === undefined;
    if (!old) throw error;
    return rawTracepointOpen(sys, { prog_fd: program.fd });
  }
}

function attachTypeOf({ type, attachType }: BpfProgram): number | undefined {
  if (type === BPF_PROG_TYPE_EXT) return 0; // has none of its own
  return attachType === undefined ? undefined : attachTypeNumber(attachType);
}
