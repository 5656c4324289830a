// The sample in the structured language, side by side with ../tc-log-cpu.ts in instructions: the same options, lines and
// verdicts. `up` loads the ones in instructions.
import type { Program } from "../../asm/program.ts";
import { TC_ACT_UNSPEC } from "../../lang/program/actions.ts";
import { tc } from "../../lang/program/program.ts";
import type { TcIngressOptions, TcLogOptions } from "../tc-log-cpu.ts";

/** `tcIngress` in the structured language: prints `[TC ingress] cpu=N`, and passes the packet on or redirects it. */
export function tcIngress(options: TcIngressOptions = {}): Program<"sched_cls"> {
  const { trace = true, redirectTo } = options;
  return tc("tc_ingress", ($) => {
    if (trace) $.printk`[TC ingress] cpu=${$.bpf_get_smp_processor_id()}`;
    return $.return(redirectTo === undefined ? TC_ACT_UNSPEC : $.bpf_redirect(redirectTo, 0));
  });
}

/** `tcEgress` in the structured language: prints `[TC egress ] cpu=N`, and passes the packet on. */
export function tcEgress(options: TcLogOptions = {}): Program<"sched_cls"> {
  const { trace = true } = options;
  return tc("tc_egress", ($) => {
    if (trace) $.printk`[TC egress ] cpu=${$.bpf_get_smp_processor_id()}`;
    return $.return(TC_ACT_UNSPEC);
  });
}
