import type { BpfProgram } from "../program.ts";
import type { LinkInfo } from "./info.ts";
import type { LinkTypeName } from "./names.ts";

/**
 * What sort of attachment a {@link Link} is: the kernel's link types, and what the kernel attaches without a link:
 * `socket_filter` and `sk_reuseport` (socket options).
 */
export type LinkKind = LinkTypeName | "socket_filter" | "sk_reuseport";

/** Options of {@link Link.update}. */
export interface UpdateOptions {
  /** Replace only this program: where another one is in place by now, nothing happens and an error says so. */
  readonly expected?: BpfProgram;
}

/**
 * An attachment of a program, of whatever kind: what the functions `attachXxx(program, target, options)` give.
 *
 * It ends when the link is closed (`using` does that), unless a pin, or another descriptor of it, holds it. Where the
 * kernel offers no `bpf_link`, {@link id} is `undefined`, there is no pinning, and closing detaches.
 *
 * What a kind of link or this kernel cannot do, throws an `UnsupportedError` that says so.
 *
 * @example
 * ```ts
 * using link = attachTcxLink(prog, "eth0", { hook: "ingress" });
 * link.update(better, { expected: prog });
 * link.pin("/sys/fs/bpf/eth0_ingress");
 * ```
 */
export interface Link extends Disposable {
  readonly kind: LinkKind;
  /** The kernel's id of the link, as `bpftool link show` prints it; `undefined` where there is no `bpf_link`. */
  readonly id: number | undefined;
  /**
   * Puts another program in the place of the present one, in one step of the kernel: no event meets neither, and its
   * place among others is kept. The new program must be of the same type. The old one may be closed then.
   *
   * @throws UnsupportedError for tracepoints, probes, tracing and netfilter: those keep their program; TsbpfError when the
   * `expected` program is not the present one, or the link was detached; SyscallError EINVAL for a program of another type.
   */
  update(program: BpfProgram, options?: UpdateOptions): void;
  /**
   * Ends the attachment now, although pins and other descriptors of the link may remain. The link stays as an empty shell
   * until they are gone, too. Doing it again is fine.
   *
   * Links of tracepoints, probes and tracing programs have no such operation: they are closed, and it is an error if
   * something else holds them.
   *
   * @throws TsbpfError where it is not detached.
   */
  detach(): void;
  /**
   * Gives the link a name on a bpffs, which keeps it attached when it is closed and when the process ends.
   *
   * @throws SyscallError: EEXIST, ENOENT, EPERM where it is no bpffs; UnsupportedError where there is no `bpf_link`.
   */
  pin(path: string): void;
  /**
   * Removes a pin of this link, which stays attached while something else holds it.
   *
   * @throws TsbpfError when the pin is of another object; SyscallError: ENOENT; UnsupportedError where there is no `bpf_link`.
   */
  unpin(path: string): void;
  /** What the kernel tells about it now. */
  info(): LinkInfo;
  /** Gives it up, see {@link Link}. Doing it again is fine. */
  close(): void;
}
