import { TsbpfError } from "../../base/error.ts";
import { linkDetach, linkUpdate } from "../../syscall/bpf-link.ts";
import { linkGetFdById } from "../../syscall/bpf-object.ts";
import { SyscallError } from "../../syscall/errno.ts";
import { Fd } from "../../syscall/fd.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { pinObject, removePin } from "../pin.ts";
import type { BpfProgram } from "../program.ts";
import { UnsupportedError } from "../unsupported.ts";
import { type LinkInfo, readLinkInfo } from "./info.ts";
import type { Link, UpdateOptions } from "./link.ts";
import type { LinkTypeName } from "./names.ts";

/** A {@link Link} that is a `bpf_link` in the kernel, owned through its fd. */
export class BpfLink implements Link {
  readonly kind: LinkTypeName;
  readonly id: number | undefined;
  readonly #fd: Fd;
  readonly #sys: Syscalls;

  private constructor(sys: Syscalls, fd: Fd, kind: LinkTypeName, id: number | undefined) {
    this.#sys = sys;
    this.#fd = fd;
    this.kind = kind;
    this.id = id;
  }

  /**
   * Takes ownership of the descriptor of a link, or of an {@link Fd}; it is closed where that fails.
   *
   * @param kind - what it is where the kernel does not tell: raw tracepoints before 5.8.
   */
  static own(sys: Syscalls, link: number | Fd, what: string, kind?: LinkTypeName): BpfLink {
    const fd = typeof link === "number" ? Fd.own(sys, link, what) : link;
    try {
      const info = tryReadInfo(sys, fd, kind);
      if (info !== undefined && (info.kind === "unknown" || !isLinkType(info.kind))) {
        throw new TsbpfError(`${what} is a link of a type that this version of tsbpf does not know`);
      }
      return new BpfLink(sys, fd, (info?.kind ?? kind) as LinkTypeName, info?.id);
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  /** The fd, for calls that this class does not cover. It stays the link's own. */
  get fd(): number {
    return this.#fd.number;
  }

  update(program: BpfProgram, { expected }: UpdateOptions = {}): void {
    try {
      linkUpdate(this.#sys, { link_fd: this.fd, new_prog_fd: program.fd, old_prog_fd: expected?.fd });
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      throw this.#explainUpdate(error, program, expected);
    }
  }

  detach(): void {
    if (this.#fd.closed) return;
    try {
      linkDetach(this.#sys, this.fd);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      // EINVAL: a kernel before 5.9, which does not know the command.
      if (error.code !== "EOPNOTSUPP" && error.code !== "EINVAL") throw error;
      this.#closeLast(error);
    }
  }

  pin(path: string): void {
    try {
      pinObject(this.#sys, path, this.fd);
    } catch (error) {
      if (!(error instanceof SyscallError) || error.code !== "EINVAL") throw error;
      throw new UnsupportedError(`cannot pin ${this.#fd.what}: this kernel pins no links`, {
        feature: "pinning links",
        since: "5.7",
        cause: error,
      });
    }
  }

  unpin(path: string): void {
    const id = this.info().id ?? 0;
    removePin(this.#sys, path, { kind: "link", id }, (fd) => readLinkInfo(this.#sys, fd).id ?? 0);
  }

  info(): LinkInfo {
    return readLinkInfo(this.#sys, this.fd);
  }

  close(): void {
    this.#fd.close();
  }

  /** Closes it, at the end of a `using` declaration. */
  [Symbol.dispose](): void {
    this.close();
  }

  #explainUpdate(cause: SyscallError, program: BpfProgram, expected: BpfProgram | undefined): TsbpfError {
    const what = `cannot update ${this.#fd.what}`;
    const { code, call, errno, args } = cause;
    if ((code === "EINVAL" || code === "EOPNOTSUPP") && KEEP_THEIR_PROGRAM.has(this.kind)) {
      return new UnsupportedError(`${what}: a ${this.kind} link keeps its program`, {
        feature: `replacing the program of a ${this.kind} link`,
        hint: "Attach the new program, then close this link: for a moment, both see the events.",
        cause,
      });
    }
    if (code === "EINVAL" && this.kind === "struct_ops") {
      return new UnsupportedError(`${what}: it has several programs`, {
        feature: "replacing one program of a struct_ops link",
        hint: "Replace all of them: attachStructOps gives a link with replace().",
        cause,
      });
    }
    if (code === "EPERM" && expected !== undefined) {
      const now = this.info().progId;
      return new TsbpfError(`${what}: its program is ${now}, not the expected '${expected.name}'`, {
        details: `  ${cause.message}`,
        hint: "Somebody else has updated it meanwhile; look at info().",
        cause,
      });
    }
    if (code === "ENOLINK") {
      return new TsbpfError(`${what}: it is not attached any more`, {
        details: `  ${cause.message}`,
        hint: "It was detached, or what it was attached to is gone. Attach the program anew.",
        cause,
      });
    }
    if (code !== "EINVAL" && code !== "EPERM") return cause;
    const hint = `'${program.name}' must have the type and the attach type of the program that it replaces.`;
    return new SyscallError(call, errno, args, { hint, cause });
  }

  /** Detaches a link that only ends with its last reference, and makes sure that this was the last. */
  #closeLast(cause: SyscallError): void {
    this.close();
    if (this.id === undefined || isGone(this.#sys, this.id)) return;
    throw new TsbpfError(`${this.#fd.what} is still attached: something else holds it`, {
      details: `  ${cause.message}`,
      hint:
        `A ${this.kind} link ends with its last descriptor and pin. ` +
        `bpftool -f link show id ${this.id} names the pins, and who else has it open.`,
      cause,
    });
  }
}

/** The kinds for which the kernel has no way to replace the program (no `update_prog` in its `bpf_link_ops`). */
const KEEP_THEIR_PROGRAM: ReadonlySet<LinkTypeName> = new Set([
  "raw_tracepoint",
  "tracing",
  "tracing_multi",
  "perf_event",
  "kprobe_multi",
  "uprobe_multi",
  "netfilter",
]);

function tryReadInfo(sys: Syscalls, fd: Fd, kind: LinkTypeName | undefined): LinkInfo | undefined {
  try {
    return readLinkInfo(sys, fd.number);
  } catch (error) {
    if (kind !== undefined && error instanceof SyscallError && error.code === "EINVAL") return undefined;
    throw error;
  }
}

function isLinkType(kind: LinkInfo["kind"]): boolean {
  return kind !== "socket_filter" && kind !== "sk_reuseport";
}

/**
 * Whether no link has this id any more. Who lists links holds each for an instant, so the answer is asked for again.
 * Without CAP_SYS_ADMIN there is no telling, and the link is taken to be gone.
 */
function isGone(sys: Syscalls, id: number): boolean {
  for (let attempt = 0; attempt < 20; attempt++) {
    if (attempt > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    try {
      const fd = linkGetFdById(sys, id);
      if (fd === undefined) return true;
      sys.close(fd);
    } catch (error) {
      if (error instanceof SyscallError && error.code === "EPERM") return true;
      if (!(error instanceof SyscallError) || error.code !== "EAGAIN") throw error;
    }
  }
  return false;
}
