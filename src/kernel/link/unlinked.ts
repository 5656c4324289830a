import type { BpfProgram } from "../program.ts";
import { UnsupportedError } from "../unsupported.ts";
import type { LinkInfo } from "./info.ts";
import type { Link, LinkKind, UpdateOptions } from "./link.ts";

/** An attachment that the kernel makes without a `bpf_link`, as the parts of a {@link Link} that differ. */
export interface Unlinked {
  readonly kind: LinkKind;
  /** For messages: `the filter of socket 7`. */
  readonly what: string;
  /** The kernel that brought a `bpf_link` for it, if one did. */
  readonly linkSince?: string;
  /** Puts another program in its place in one step; absent where that cannot be done. */
  readonly update?: (program: BpfProgram, options: UpdateOptions) => void;
  readonly detach: () => void;
  readonly info: () => LinkInfo;
}

/** Makes a {@link Link} of it: closing detaches, since nothing else could ever do it. */
export function unlinked({ kind, what, linkSince, update, detach, info }: Unlinked): Link {
  let attached = true;
  const end = (): void => {
    if (!attached) return;
    detach();
    attached = false;
  };
  const refusePin = (failed: string): never => {
    throw new UnsupportedError(`${failed}: there is no bpf_link behind it`, {
      feature: `pinning ${what}`,
      since: linkSince,
    });
  };
  return {
    kind,
    id: undefined,
    update(program, options = {}) {
      if (update !== undefined) return update(program, options);
      throw new UnsupportedError(`cannot update ${what}: it keeps its program`, {
        feature: `replacing ${what}`,
        since: linkSince,
        hint: "Attach the new program, then close this one: for a moment, both see the events.",
      });
    },
    detach: end,
    pin: (path) => refusePin(`cannot pin ${what} to ${path}`),
    unpin: (path) => refusePin(`cannot unpin ${what} from ${path}`),
    info,
    close: end,
    [Symbol.dispose]: end,
  };
}
