// Ready-made programs, one per file: pure values, built with the instruction DSL, and some with the structured language. They may import asm, lang, btf and uapi,
// and nothing that touches a kernel.
export { type CpuMapDef, type CpuMapValue, cpuMapDef, cpuMapValue } from "./cpu-map.ts";
// The sample once more, in the structured language.
export { tcEgress as tcEgressLang, tcIngress as tcIngressLang } from "./lang/tc-log-cpu.ts";
export { xdpOnTargetCpu as xdpOnTargetCpuLang } from "./lang/xdp-on-target-cpu.ts";
export { xdpSameCpu as xdpSameCpuLang } from "./lang/xdp-same-cpu.ts";
export { type TcIngressOptions, type TcLogOptions, tcEgress, tcIngress } from "./tc-log-cpu.ts";
export { type XdpOnTargetCpuOptions, xdpOnTargetCpu } from "./xdp-on-target-cpu.ts";
export { type XdpSameCpuOptions, xdpSameCpu } from "./xdp-same-cpu.ts";
