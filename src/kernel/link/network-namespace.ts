import { linkCreate } from "../../syscall/bpf-link.ts";
import { linuxSyscalls } from "../../syscall/ffi.ts";
import { type NetnsRef, openCurrentNetns, openNetns } from "../../syscall/netns.ts";
import { BPF_FLOW_DISSECTOR, BPF_SK_LOOKUP } from "../../uapi/bpf.ts";
import type { KernelOptions } from "../map.ts";
import { kernelBefore } from "../privileges.ts";
import type { BpfProgram } from "../program.ts";
import { BpfLink } from "./bpf-link.ts";
import { attempt } from "./explain.ts";
import type { Link } from "./link.ts";

/**
 * Attaches a program of type `sk_lookup` to a network namespace (kernel 5.9): it chooses the socket for every incoming
 * connection and datagram that no connected socket takes. Several run in the order they were attached.
 *
 * @param netns - default the namespace of the calling thread.
 * @throws UnsupportedError before kernel 5.9; TsbpfError.
 */
export function attachSkLookup(program: BpfProgram, netns?: NetnsRef, options: KernelOptions = {}): Link {
  return attachNetns(program, netns, options, {
    type: BPF_SK_LOOKUP,
    name: "sk_lookup",
    since: "5.9",
    lacking: () => kernelBefore(5, 9),
    full: "The namespace has as many such programs as it takes (64).",
  });
}

/**
 * Attaches a program of type `flow_dissector` to a network namespace (kernel 5.7): it takes headers apart in place of the
 * kernel, for hashes and for classifiers. There is one at most.
 *
 * @param netns - default the namespace of the calling thread.
 * @throws UnsupportedError before kernel 5.7; TsbpfError EEXIST where the namespace, or the first one of the machine, has one.
 */
export function attachFlowDissector(
  program: BpfProgram,
  netns?: NetnsRef,
  options: KernelOptions = {},
): Link {
  return attachNetns(program, netns, options, {
    type: BPF_FLOW_DISSECTOR,
    name: "flow_dissector",
    since: "5.7",
    lacking: () => kernelBefore(5, 7),
    full: "The namespace has a flow dissector already: there is one at most.",
  });
}

interface NetnsHook {
  readonly type: number;
  readonly name: string;
  readonly since: string;
  readonly lacking: () => boolean;
  readonly full: string;
}

function attachNetns(
  program: BpfProgram,
  netns: NetnsRef | undefined,
  { sys = linuxSyscalls() }: KernelOptions,
  hook: NetnsHook,
): Link {
  using namespace = netns === undefined ? openCurrentNetns(sys) : openNetns(sys, netns);
  return attempt(
    {
      what: `attach '${program.name}' to ${hook.name} of ${namespace.what}`,
      feature: {
        feature: `links of ${hook.name}`,
        since: hook.since,
        lacking: (code) => code === "EINVAL" && hook.lacking(),
      },
      hints: {
        E2BIG: hook.full,
        EEXIST:
          "A flow dissector is there already, or in the first network namespace, which then serves all.",
        EINVAL: `It takes a program of type ${hook.name}, loaded with the attach type ${hook.name}.`,
      },
    },
    () => {
      const a = { prog_fd: program.fd, target_fd: namespace.number, attach_type: hook.type };
      return BpfLink.own(sys, linkCreate(sys, a), `${hook.name} link of ${namespace.what}`);
    },
  );
}
