import type { AttachTypeName } from "../../asm/program.ts";
import { TsbpfError } from "../../base/error.ts";
import { linkCreate } from "../../syscall/bpf-link.ts";
import { progAttach, progDetach } from "../../syscall/bpf-prog.ts";
import { SyscallError } from "../../syscall/errno.ts";
import { linuxSyscalls } from "../../syscall/ffi.ts";
import type { BpfMap, KernelOptions } from "../map.ts";
import type { BpfProgram } from "../program.ts";
import { UnsupportedError } from "../unsupported.ts";
import { BpfLink } from "./bpf-link.ts";
import { attempt } from "./explain.ts";
import { hold, withProgram } from "./held-program.ts";
import type { Link } from "./link.ts";
import { attachTypeNumber } from "./names.ts";
import { unlinked } from "./unlinked.ts";

/** What a program of a map of sockets does. */
export type SockmapAttachType = Extract<
  AttachTypeName,
  "sk_msg_verdict" | "sk_skb_verdict" | "sk_skb_stream_verdict" | "sk_skb_stream_parser"
>;

/** Options of {@link attachSockmap}. */
export interface AttachSockmapOptions extends KernelOptions {
  /**
   * `sk_msg_verdict` for programs of type `sk_msg`, the others for `sk_skb`. Default: what the program was loaded for, where
   * this process has loaded it.
   */
  readonly attachType?: SockmapAttachType;
  /** Default: a link (kernel 6.10), and a program where the kernel has none. */
  readonly as?: "link" | "program";
}

/**
 * Attaches a program to a map of sockets (`sockmap`, `sockhash`): it sees what the sockets in it send (`sk_msg`) or receive
 * (`sk_skb`), and may redirect it to another one. A map has one program of each attach type.
 *
 * A socket takes over the programs of the map when it is put in: attach before that, and after an update or a detachment take
 * the sockets out and put them in again.
 *
 * @param map - must stay open until the attachment ends where the kernel has no links for it.
 * @throws TsbpfError: EBUSY where a link holds the place, EOPNOTSUPP for a map of another type.
 */
export function attachSockmap(
  program: BpfProgram,
  map: Pick<BpfMap, "fd" | "info" | "def">,
  options: AttachSockmapOptions = {},
): Link {
  const { sys = linuxSyscalls(), as } = options;
  const attachType = options.attachType ?? attachTypeOf(program);
  const attach_type = attachTypeNumber(attachType);
  const attr = { prog_fd: program.fd, target_fd: map.fd, attach_type };
  const where = `${attachType} of map '${map.def.name}'`;
  return attempt(
    {
      what: `attach '${program.name}' to ${where}`,
      feature: {
        feature: "links of socket maps",
        since: "6.10",
        lacking: (code) => as === "link" && code === "EINVAL" && isSocketMap(map),
        instead: "Attach it as a program.",
      },
      hints: {
        EBUSY: "A program is there already.",
        EOPNOTSUPP: "It takes a map of type sockmap or sockhash.",
        EINVAL:
          "It takes a program of type sk_msg (sk_msg_verdict) or sk_skb (the others), and a map of sockets.",
      },
    },
    () => {
      if (as === "program") return attachWithoutLink();
      try {
        return BpfLink.own(sys, linkCreate(sys, attr), `link of ${where}`);
      } catch (error) {
        if (as === "link" || !(error instanceof SyscallError) || error.code !== "EINVAL") throw error;
        return attachWithoutLink();
      }
    },
  );

  function attachWithoutLink(): Link {
    const { id: mapId } = map.info();
    let current = hold(program);
    const target = { target_fd: map.fd, attach_type };
    progAttach(sys, { ...target, attach_bpf_fd: program.fd });
    return unlinked({
      kind: "sockmap",
      what: `the program at ${where}`,
      linkSince: "6.10",
      update(next, { expected }) {
        if (expected !== undefined) {
          throw new UnsupportedError(`cannot compare ${where} with the expected '${expected.name}'`, {
            feature: "an expected program for socket maps",
            since: "6.10",
            hint: "Without a link the kernel replaces whatever is there: leave expected out.",
          });
        }
        const after = hold(next);
        progAttach(sys, { ...target, attach_bpf_fd: next.fd });
        current = after;
      },
      detach() {
        try {
          withProgram(sys, current, (fd) => progDetach(sys, { ...target, attach_bpf_fd: fd }));
        } catch (error) {
          // Another program is there by now.
          if (!(error instanceof SyscallError) || error.code !== "ENOENT") throw error;
        }
      },
      info: () => ({ kind: "sockmap", id: undefined, progId: current.id, mapId, attachType }),
    });
  }
}

function attachTypeOf({ name, attachType }: BpfProgram): SockmapAttachType {
  if (attachType?.startsWith("sk_msg_") === true || attachType?.startsWith("sk_skb_") === true) {
    return attachType as SockmapAttachType;
  }
  throw new TsbpfError(`'${name}' was not loaded for maps of sockets, as far as is known here`, {
    hint: "Say what it shall do: { attachType: 'sk_skb_verdict' }.",
  });
}

function isSocketMap({ def }: Pick<BpfMap, "def">): boolean {
  return def.type === "sockmap" || def.type === "sockhash";
}
