import { fstatSync } from "node:fs";
import type { AttachTypeName } from "../../asm/program.ts";
import { TsbpfError } from "../../base/error.ts";
import { linkCreate } from "../../syscall/bpf-link.ts";
import { progAttach, progDetach } from "../../syscall/bpf-prog.ts";
import { O_CLOEXEC, O_RDONLY } from "../../syscall/constants.ts";
import { check, SyscallError } from "../../syscall/errno.ts";
import { Fd } from "../../syscall/fd.ts";
import { linuxSyscalls } from "../../syscall/ffi.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { BPF_F_ALLOW_MULTI, BPF_F_ALLOW_OVERRIDE, BPF_F_PREORDER, BPF_F_REPLACE } from "../../uapi/bpf.ts";
import type { KernelOptions } from "../map.ts";
import { kernelBefore } from "../privileges.ts";
import type { BpfProgram } from "../program.ts";
import { BpfLink } from "./bpf-link.ts";
import { attempt } from "./explain.ts";
import { hold, withProgram } from "./held-program.ts";
import type { Link } from "./link.ts";
import { attachTypeNumber } from "./names.ts";
import { encodePosition, POSITION_HINTS, type Position } from "./position.ts";
import { unlinked } from "./unlinked.ts";

/** What a program of a cgroup sees. */
export type CgroupAttachType = Extract<AttachTypeName, `cgroup_${string}` | "lsm_cgroup">;

/** Options of {@link attachCgroup}. */
export interface AttachCgroupOptions extends KernelOptions, Position {
  /** What the program sees. Default: what it was loaded for, where this process has loaded it. */
  readonly attachType?: CgroupAttachType;
  /**
   * `link` goes with its last descriptor or pin, and always shares the cgroup with others (kernel 5.7). `program` stays
   * until it is detached, or the cgroup removed. Default: a link, and a program where the kernel has none.
   */
  readonly as?: "link" | "program";
  /**
   * How a program without a link shares its cgroup with other programs, and with those of cgroups below:
   * `multi` (default) runs all of them, below first; `override` is the only one here, and one below takes its place;
   * `exclusive` is the only one, and forbids any below.
   */
  readonly sharing?: "multi" | "override" | "exclusive";
  /** Run it before the programs of the cgroups below, instead of behind them (kernel 6.15). Default false. */
  readonly preorder?: boolean;
}

/**
 * Attaches a program to a cgroup (version 2): it sees what the processes of the cgroup, and of those below, do. Places among
 * several (`before`, `after`, `revision`) take kernel 6.17.
 *
 * @param path - the directory: `/sys/fs/cgroup/web`.
 * @throws TsbpfError where it is no directory of a cgroup2 file system, or the cgroup has a program that does not share;
 * with what to do about it.
 * @example
 * ```ts
 * using link = attachCgroup(policy, "/sys/fs/cgroup/web");
 * ```
 */
export function attachCgroup(program: BpfProgram, path: string, options: AttachCgroupOptions = {}): Link {
  const { sys = linuxSyscalls(), as } = options;
  const attachType = options.attachType ?? attachTypeOf(program);
  const how = { ...options, attachType };
  const cgroup = openCgroup(sys, path);
  let held = false;
  try {
    return attempt(
      {
        what: `attach '${program.name}' to ${attachType} of ${path}`,
        feature: {
          feature: "links of cgroups",
          since: "5.7",
          lacking: (code) => as === "link" && code === "EINVAL" && kernelBefore(5, 7),
          instead: "Attach it as a program.",
        },
        hints: {
          ...POSITION_HINTS,
          EBADF: `${path} is not a directory of a cgroup2 file system (mount -t cgroup2).`,
          EPERM: "Another program here, or in a cgroup above, does not share (bpftool cgroup tree).",
          EINVAL: `The program must be loaded for ${attachType}; places among others take kernel 6.17.`,
        },
      },
      () => {
        if (as === "program") return attachProgram();
        try {
          return attachLink(sys, program, cgroup, how);
        } catch (error) {
          const old = error instanceof SyscallError && error.code === "EINVAL" && as === undefined;
          const second = old ? tryOr(attachProgram) : undefined;
          if (second === undefined) throw error;
          return second;
        }
      },
    );
  } finally {
    if (!held) cgroup.close();
  }

  function attachProgram(): Link {
    const link = attachWithoutLink(sys, program, cgroup, how);
    held = true;
    return link;
  }
}

/** Opens the directory of a cgroup. @throws TsbpfError where there is none. */
export function openCgroup(sys: Syscalls, path: string): Fd {
  const result = sys.open(path, O_RDONLY | O_CLOEXEC, 0);
  return Fd.own(sys, check(result, "open", { path }), `cgroup ${path}`);
}

/** The options, with the attach type decided. */
type Decided = AttachCgroupOptions & { readonly attachType: CgroupAttachType };

function attachTypeOf({ name, attachType }: BpfProgram): CgroupAttachType {
  if (attachType?.startsWith("cgroup_") === true || attachType === "lsm_cgroup") {
    return attachType as CgroupAttachType;
  }
  throw new TsbpfError(`'${name}' was not loaded for cgroups, as far as is known here`, {
    hint: "Say what it shall see: { attachType: 'cgroup_inet_egress' }.",
  });
}

function attachLink(sys: Syscalls, program: BpfProgram, cgroup: Fd, options: Decided): Link {
  const { flags, fields } = encodePosition(options);
  const placed = flags !== 0 || fields.expected_revision !== undefined;
  const fd = linkCreate(sys, {
    prog_fd: program.fd,
    target_fd: cgroup.number,
    attach_type: attachTypeNumber(options.attachType),
    flags: flags | preorderFlag(options),
    ...(placed ? { cgroup: fields } : {}),
  });
  return BpfLink.own(sys, fd, `link of ${cgroup.what}`);
}

function attachWithoutLink(sys: Syscalls, program: BpfProgram, cgroup: Fd, options: Decided): Link {
  const { attachType, sharing = "multi" } = options;
  const attach_type = attachTypeNumber(attachType);
  const target_fd = cgroup.number;
  const share = SHARING[sharing];
  const { flags, fields } = encodePosition(options);
  let current = hold(program);
  progAttach(sys, {
    target_fd,
    attach_type,
    attach_bpf_fd: program.fd,
    attach_flags: share | flags | preorderFlag(options),
    ...fields,
  });
  return unlinked({
    kind: "cgroup",
    what: `the program of ${cgroup.what}`,
    linkSince: "5.7",
    update(next, { expected }) {
      const after = hold(next);
      const before = expected === undefined ? current : hold(expected);
      const done = withProgram(sys, before, (fd) => {
        const attr = { target_fd, attach_type, attach_bpf_fd: next.fd };
        // Only the programs of a shared list are told apart; a program that is alone is replaced by attaching.
        const replace =
          sharing === "multi" ? { attach_flags: share | BPF_F_REPLACE, replace_bpf_fd: fd } : null;
        progAttach(sys, replace === null ? { ...attr, attach_flags: share } : { ...attr, ...replace });
        return true;
      });
      if (done !== true) throw new TsbpfError(`the program to replace is not attached to ${cgroup.what}`);
      current = after;
    },
    detach() {
      try {
        withProgram(sys, current, (fd) => progDetach(sys, { target_fd, attach_type, attach_bpf_fd: fd }));
      } catch (error) {
        // Somebody else has detached it.
        if (!(error instanceof SyscallError) || error.code !== "ENOENT") throw error;
      }
      cgroup.close();
    },
    info: () => ({
      kind: "cgroup",
      id: undefined,
      progId: current.id,
      cgroupId: cgroup.closed ? undefined : cgroupId(cgroup),
      attachType,
    }),
  });
}

/** The kernel's id of a cgroup: the inode number of its directory. */
export function cgroupId(cgroup: Fd): bigint {
  return fstatSync(cgroup.number, { bigint: true }).ino;
}

const SHARING = { multi: BPF_F_ALLOW_MULTI, override: BPF_F_ALLOW_OVERRIDE, exclusive: 0 } as const;

function preorderFlag({ preorder = false }: AttachCgroupOptions): number {
  return preorder ? BPF_F_PREORDER : 0;
}

/** The second attempt's refusal is no news: the first one is told. */
function tryOr<Result>(second: () => Result): Result | undefined {
  try {
    return second();
  } catch (error) {
    if (error instanceof SyscallError) return undefined;
    throw error;
  }
}
