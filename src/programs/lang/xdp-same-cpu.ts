// The sample in the structured language, side by side with ../xdp-same-cpu.ts in instructions: the same options, lines,
// verdicts and maps. `up` loads the ones in instructions.
import type { Program } from "../../asm/program.ts";
import { XDP_ABORTED, XDP_PASS } from "../../lang/program/actions.ts";
import { xdp } from "../../lang/program/program.ts";
import { BPF_F_XDP_HAS_FRAGS } from "../../uapi/bpf.ts";
import type { CpuMapDef } from "../cpu-map.ts";
import type { XdpSameCpuOptions } from "../xdp-same-cpu.ts";

/** `xdpSameCpu` in the structured language: hands every packet to the core that it arrived on, through the CPU map. */
export function xdpSameCpu(cpus: CpuMapDef, options: XdpSameCpuOptions = {}): Program<"xdp"> {
  const { trace = true, missing = "pass", frags = false } = options;
  return xdp(
    "xdp_same_cpu",
    ($) => {
      const cpu = $.bpf_get_smp_processor_id();
      if (trace) $.printk`[XDP       ] cpu=${cpu}`;
      return $.return($.bpf_redirect_map(cpus, cpu, missing === "pass" ? XDP_PASS : XDP_ABORTED));
    },
    { flags: frags ? BPF_F_XDP_HAS_FRAGS : 0 },
  );
}
