// The sample in the structured language, side by side with ../xdp-on-target-cpu.ts in instructions: the same options, lines
// and verdicts. `up` loads the ones in instructions.
import type { Program } from "../../asm/program.ts";
import { XDP_PASS } from "../../lang/program/actions.ts";
import { xdp } from "../../lang/program/program.ts";
import { BPF_F_XDP_HAS_FRAGS } from "../../uapi/bpf.ts";
import type { XdpOnTargetCpuOptions } from "../xdp-on-target-cpu.ts";

/** `xdpOnTargetCpu` in the structured language: prints `[XDP cpumap] cpu=N` on the target core, and passes the packet on. */
export function xdpOnTargetCpu(options: XdpOnTargetCpuOptions = {}): Program<"xdp"> {
  const { frags = false } = options;
  return xdp(
    "xdp_target_cpu",
    ($) => {
      $.printk`[XDP cpumap] cpu=${$.bpf_get_smp_processor_id()}`;
      return $.return(XDP_PASS);
    },
    { attachType: "xdp_cpumap", flags: frags ? BPF_F_XDP_HAS_FRAGS : 0 },
  );
}
