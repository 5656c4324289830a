import { mov32 } from "../asm/alu.ts";
import { call } from "../asm/call.ts";
import { exit } from "../asm/jump.ts";
import { printk } from "../asm/printk.ts";
import { type Program, xdp } from "../asm/program.ts";
import { r0, r6 } from "../asm/register.ts";
import { BPF_F_XDP_HAS_FRAGS, XDP_PASS } from "../uapi/bpf.ts";
import { bpf_get_smp_processor_id } from "../uapi/helpers.ts";

/** Options of {@link xdpOnTargetCpu}. */
export interface XdpOnTargetCpuOptions {
  /** As of the program that redirects to it: the kernel refuses an entry where the two differ. */
  readonly frags?: boolean;
}

/**
 * The second XDP program of a CPU map entry (kernel 5.9): prints `[XDP cpumap] cpu=N` on the core that the packet was
 * handed to, and passes it on to the network stack.
 */
export function xdpOnTargetCpu(options: XdpOnTargetCpuOptions = {}): Program<"xdp"> {
  const { frags = false } = options;
  return xdp(
    "xdp_target_cpu",
    {
      entry: [
        call(bpf_get_smp_processor_id),
        mov32(r6, r0),
        ...printk("[XDP cpumap] cpu=%d", r6),
        mov32(r0, XDP_PASS),
        exit(),
      ],
    },
    { attachType: "xdp_cpumap", flags: frags ? BPF_F_XDP_HAS_FRAGS : 0 },
  );
}
