import { mov32 } from "../asm/alu.ts";
import { call } from "../asm/call.ts";
import { exit } from "../asm/jump.ts";
import { lddw, mapFd } from "../asm/load-store.ts";
import { printk } from "../asm/printk.ts";
import { type Program, xdp } from "../asm/program.ts";
import { r0, r1, r2, r3, r6 } from "../asm/register.ts";
import { BPF_F_XDP_HAS_FRAGS, XDP_ABORTED, XDP_PASS } from "../uapi/bpf.ts";
import { bpf_get_smp_processor_id, bpf_redirect_map } from "../uapi/helpers.ts";
import type { CpuMapDef } from "./cpu-map.ts";

/** Options of {@link xdpSameCpu}. */
export interface XdpSameCpuOptions {
  /** Print `[XDP       ] cpu=N` for every packet; default true. */
  readonly trace?: boolean;
  /** What becomes of a packet on a core without an entry; default pass. `drop` is the helper's own default, XDP_ABORTED. */
  readonly missing?: "pass" | "drop";
  /** Accept packets of several buffers, for MTUs above one page (kernel 5.18); default false. */
  readonly frags?: boolean;
}

/**
 * Hands every packet to the core that it arrived on, through the CPU map: the rest of its way, TC ingress and the reply's
 * TC egress included, then runs in that core's `cpumap` kernel thread.
 *
 * A program is not moved to another core while it runs, so the number read first stays true.
 */
export function xdpSameCpu(cpus: CpuMapDef, options: XdpSameCpuOptions = {}): Program<"xdp"> {
  const { trace = true, missing = "pass", frags = false } = options;
  return xdp(
    "xdp_same_cpu",
    {
      entry: [
        call(bpf_get_smp_processor_id),
        mov32(r6, r0),
        ...(trace ? printk("[XDP       ] cpu=%d", r6) : []),
        lddw(r1, mapFd(cpus)),
        mov32(r2, r6),
        mov32(r3, missing === "pass" ? XDP_PASS : XDP_ABORTED), // what the helper answers where the map has no such key
        call(bpf_redirect_map),
        exit(),
      ],
    },
    { flags: frags ? BPF_F_XDP_HAS_FRAGS : 0 },
  );
}
