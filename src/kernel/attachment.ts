import { TsbpfError } from "../base/error.ts";
import { SyscallError } from "../syscall/errno.ts";
import { NetlinkError } from "../syscall/netlink.ts";
import { currentNetnsInode } from "../syscall/netns.ts";
import type { Syscalls } from "../syscall/syscalls.ts";
import type { ClsactInfo, TcxLinkInfo, XdpLinkInfo } from "./link/info.ts";
import { BpfProgram } from "./program.ts";

/**
 * A program attached to a hook of an interface. It stays when the process ends, unless it is detached or disposed of.
 *
 * All of it happens in the network namespace that it was attached in: from another one, where the interface's index means
 * another interface or none, `update` and `detach` refuse.
 */
export interface Attachment extends Disposable {
  readonly ifindex: number;
  /** The interface's name at the time. */
  readonly name: string;
  /** Id of the program that is attached. */
  readonly progId: number;
  /**
   * Puts another program in its place, in one step of the kernel: no packet meets neither. The old one may be closed.
   *
   * @throws AttachError when it is not attached any more, or the kernel refuses the new program; the old one stays then.
   */
  update(program: BpfProgram): void;
  /**
   * Detaches this program, and no other: false where it was not attached any more. `using` does it at the end of a scope.
   *
   * @throws TsbpfError with the kernel's explanation.
   */
  detach(): boolean;
  /** What the kernel tells about it now, as `listAttachments` does; `undefined` where it is not attached any more. */
  info(): XdpLinkInfo | TcxLinkInfo | ClsactInfo | undefined;
}

/** A program that could not be attached, in the kernel's words and with what to do about it. */
export class AttachError extends TsbpfError {
  /** Errno name, such as `EBUSY`; empty where no call failed. */
  readonly code: string;
  /** The kernel's explanation, where it gave one: `XDP program already attached`. */
  readonly extack: string | undefined;
  /** The interface. */
  readonly device: string;

  /**
   * @param what - `attach XDP to eth0`.
   * @param cause - the refusal, or a sentence.
   */
  constructor(
    what: string,
    device: string,
    cause: NetlinkError | SyscallError | string,
    hint: string | undefined,
  ) {
    const extack = cause instanceof NetlinkError ? cause.extack : undefined;
    const code = typeof cause === "string" ? "" : cause.code;
    super(`cannot ${what}: ${typeof cause === "string" ? cause : (extack ?? code)}`, {
      details: typeof cause === "string" ? "" : `  ${cause.message.split("\n")[0]}`,
      hint,
      cause: typeof cause === "string" ? undefined : cause,
    });
    this.code = code;
    this.extack = extack;
    this.device = device;
  }
}

/** Why an attachment cannot be updated. */
export const NOT_ATTACHED = "it is not attached any more";

/** Runs a request; a refusal becomes an {@link AttachError}. */
export function explainAttach<Result>(
  what: string,
  device: string,
  hint: (refusal: { readonly code: string; readonly extack: string }) => string | undefined,
  request: () => Result,
): Result {
  try {
    return request();
  } catch (error) {
    if (!(error instanceof NetlinkError) && !(error instanceof SyscallError)) throw error;
    const extack = error instanceof NetlinkError ? (error.extack ?? "") : "";
    throw new AttachError(what, device, error, hint({ code: error.code, extack }));
  }
}

/**
 * Remembers the calling thread's network namespace.
 *
 * @returns refuses, with a TsbpfError, to go on in another one.
 */
export function stayInNetns(what: string): () => void {
  const inode = currentNetnsInode();
  return () => {
    if (currentNetnsInode() === inode) return;
    throw new TsbpfError(`${what} is attached in another network namespace (net:[${inode}])`, {
      hint: "Enter the one that it was attached in (withNetns), and do it there.",
    });
  };
}

/** A descriptor of a program that was attached: its own while it is open, else one by its id (CAP_SYS_ADMIN). */
export function openAttached(
  sys: Syscalls,
  { program, id }: { readonly program: BpfProgram; readonly id: number },
): (Disposable & { readonly fd: number }) | undefined {
  if (program.closed) return BpfProgram.fromId(id, { sys });
  return { fd: program.fd, [Symbol.dispose]: () => {} };
}
