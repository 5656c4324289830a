import { TsbpfError } from "../../base/error.ts";
import { SyscallError } from "../../syscall/errno.ts";
import { permissionHint } from "../privileges.ts";
import { UnsupportedError, type UnsupportedOptions } from "../unsupported.ts";

/** What is known about a kind of attachment, to explain a refusal. */
export interface Attempt {
  /** `attach 'count' to tracepoint sched:sched_switch`. */
  readonly what: string;
  /** What it takes, and whether a refusal means that this kernel lacks it. */
  readonly feature: Pick<UnsupportedOptions, "feature" | "since" | "needs"> & {
    /** Asked after a refusal: does it mean that? Default: never. */
    readonly lacking?: (code: string) => boolean;
    readonly instead?: string;
  };
  /** What a refusal means otherwise, by errno name. */
  readonly hints?: Readonly<Record<string, string>>;
}

/**
 * Runs an attachment: first the attempt, then, if it is refused, the explanation.
 *
 * @throws UnsupportedError where this kernel lacks it; else TsbpfError with the kernel's word and what to do about it.
 */
export function attempt<Result>({ what, feature, hints }: Attempt, attach: () => Result): Result {
  try {
    return attach();
  } catch (cause) {
    if (!(cause instanceof SyscallError)) throw cause;
    const { code } = cause;
    const { lacking, instead, ...facts } = feature;
    if (lacking?.(code) === true) {
      const options = { ...facts, hint: instead, cause };
      throw new UnsupportedError(`cannot ${what}: this kernel has no ${feature.feature}`, options);
    }
    const denied = code === "EPERM" || code === "EACCES";
    throw new TsbpfError(`cannot ${what}: ${code}`, {
      details: `  ${cause.message.split("\n")[0]}`,
      hint:
        hints?.[code] ?? (denied ? permissionHint(["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]) : undefined),
      cause,
    });
  }
}

/** A refusal that means "never heard of it" in most places: of an attach type, a command, a device's operation. */
export const unknownToKernel = (code: string): boolean =>
  code === "EINVAL" || code === "EOPNOTSUPP" || code === "ENOTSUPP";
