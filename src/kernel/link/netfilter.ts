import { linkCreate } from "../../syscall/bpf-link.ts";
import { linuxSyscalls } from "../../syscall/ffi.ts";
import { BPF_F_NETFILTER_IP_DEFRAG, BPF_NETFILTER } from "../../uapi/bpf.ts";
import type { KernelOptions } from "../map.ts";
import { kernelBefore } from "../privileges.ts";
import type { BpfProgram } from "../program.ts";
import { BpfLink } from "./bpf-link.ts";
import { attempt } from "./explain.ts";
import type { Link } from "./link.ts";

/** A place on the way of packets through the network stack. */
export interface NetfilterTarget {
  readonly family: "ipv4" | "ipv6";
  readonly hook: "prerouting" | "input" | "forward" | "output" | "postrouting";
  /** Lower runs earlier; each number is for one program at a hook. -100 is NAT of destinations, 0 the filter tables. */
  readonly priority: number;
  /** Put fragments together first; then `priority` is above -400. Default false. */
  readonly defragment?: boolean;
}

/**
 * Attaches a program of type `netfilter` to a hook of the current network namespace (kernel 6.4, CONFIG_NETFILTER_BPF_LINK).
 * It returns `NF_DROP` (0) or `NF_ACCEPT` (1).
 *
 * @throws UnsupportedError where the kernel has no such links; TsbpfError EBUSY where the priority is taken.
 * @example
 * ```ts
 * using link = attachNetfilter(prog, { family: "ipv4", hook: "input", priority: -1 });
 * ```
 */
export function attachNetfilter(
  program: BpfProgram,
  target: NetfilterTarget,
  options: KernelOptions = {},
): Link {
  const { sys = linuxSyscalls() } = options;
  const { family, hook, priority, defragment = false } = target;
  return attempt(
    {
      what: `attach '${program.name}' to netfilter ${family} ${hook}`,
      feature: {
        feature: "links of netfilter",
        since: "6.4",
        needs: "CONFIG_NETFILTER_BPF_LINK=y",
        lacking: (code) => code === "EOPNOTSUPP" || (code === "EINVAL" && kernelBefore(6, 4)),
      },
      hints: {
        EBUSY: `Another program or table has priority ${priority} there: take another number.`,
        EINVAL: "It takes a program of type netfilter, loaded with the attach type netfilter.",
        ERANGE: "With defragment, the priority must be above -400.",
        EAFNOSUPPORT: `This kernel defragments no ${family}: CONFIG_NF_DEFRAG_${family === "ipv4" ? "IPV4" : "IPV6"}.`,
      },
    },
    () => {
      const fd = linkCreate(sys, {
        prog_fd: program.fd,
        attach_type: BPF_NETFILTER,
        netfilter: {
          pf: FAMILY[family],
          hooknum: HOOK[hook],
          priority,
          flags: defragment ? BPF_F_NETFILTER_IP_DEFRAG : 0,
        },
      });
      return BpfLink.own(sys, fd, `netfilter link (${family} ${hook})`);
    },
  );
}

// linux/netfilter.h: NFPROTO_* and NF_INET_*.
const FAMILY = { ipv4: 2, ipv6: 10 } as const;
const HOOK = { prerouting: 0, input: 1, forward: 2, output: 3, postrouting: 4 } as const;

/** The name of a family, for listings. */
export function netfilterFamilyName(pf: number): string {
  return Object.entries(FAMILY).find(([, number]) => number === pf)?.[0] ?? `family ${pf}`;
}

/** The name of a hook, for listings. */
export function netfilterHookName(hook: number): string {
  return Object.entries(HOOK).find(([, number]) => number === hook)?.[0] ?? `hook ${hook}`;
}
