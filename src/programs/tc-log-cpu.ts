import { mov32 } from "../asm/alu.ts";
import { call } from "../asm/call.ts";
import { exit } from "../asm/jump.ts";
import { printk } from "../asm/printk.ts";
import { type Program, schedCls } from "../asm/program.ts";
import { r0, r1, r2, r6 } from "../asm/register.ts";
import { TC_ACT_UNSPEC } from "../uapi/bpf.ts";
import { bpf_get_smp_processor_id, bpf_redirect } from "../uapi/helpers.ts";

/** Options of {@link tcIngress} and {@link tcEgress}. */
export interface TcLogOptions {
  /** Print the line for every packet; default true. */
  readonly trace?: boolean;
}

/** Options of {@link tcIngress}. */
export interface TcIngressOptions extends TcLogOptions {
  /** Interface index to send the packet out of, instead of letting the stack have it. */
  readonly redirectTo?: number | undefined;
}

/** Prints `[TC ingress] cpu=N` for every packet, and passes it on, or redirects it to another interface. */
export function tcIngress(options: TcIngressOptions = {}): Program<"sched_cls"> {
  const { trace = true, redirectTo } = options;
  return schedCls("tc_ingress", {
    entry: [
      ...(trace ? printCpu("[TC ingress] cpu=%d") : []),
      ...(redirectTo === undefined ? [next()] : [mov32(r1, redirectTo), mov32(r2, 0), call(bpf_redirect)]),
      exit(),
    ],
  });
}

/** Prints `[TC egress ] cpu=N` for every packet, and passes it on. */
export function tcEgress(options: TcLogOptions = {}): Program<"sched_cls"> {
  const { trace = true } = options;
  return schedCls("tc_egress", {
    entry: [...(trace ? printCpu("[TC egress ] cpu=%d") : []), next(), exit()],
  });
}

/** Leaves the verdict to the programs behind this one, in TCX as in cls_bpf. */
function next() {
  return mov32(r0, TC_ACT_UNSPEC);
}

function printCpu(format: string) {
  return [call(bpf_get_smp_processor_id), mov32(r6, r0), ...printk(format, r6)];
}
