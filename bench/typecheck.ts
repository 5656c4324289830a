/**
 * What the compile-time checks cost: the type checker's time for a generated program of 5,400 instructions, and for one of 500
 * lines in the structured language, each beyond the time for the same file with next to no program.
 *
 * Run with `npx tsx bench/typecheck.ts`.
 */
import { fileURLToPath } from "node:url";
import ts from "typescript";

const BLOCKS = 600;
/** Steps of the language's program, of 19 lines each. */
const STEPS = 27;
const RUNS = 3;

const root = fileURLToPath(new URL("..", import.meta.url));
const file = `${root}bench/typecheck-generated.ts`; // exists only in memory

/** A program that uses jumps between its blocks, helpers, memory, constants and registers. */
function instructions(blocks: number): string {
  const names = Array.from({ length: blocks }, (_, index) => `b${index}`);
  const body = names.map((name, index) => {
    const next = names[(index + 1) % blocks];
    const far = names[(index * 7) % blocks];
    return `  ${name}: [
    mov(r6, r1), mov32(r2, ${index}), add(r6, ${index} - 8), lddw(r7, ${index}n),
    ldxw(r1, [r6, ${index % 128}]), stxdw([r10, -8], r7), call(bpf_ktime_get_ns),
    jeq(r0, ${index}, "${next}"), jgt32(r6, r7, "${far}"),
  ],`;
  });
  return `import { add, call, exit, jeq, jgt32, lddw, ldxw, mov, mov32, r0, r1, r2, r6, r7, r10, stxdw, xdp } from "../src/asm/index.ts";
import { bpf_ktime_get_ns } from "../src/uapi/helpers.ts";
export const used = [add, call, jeq, jgt32, lddw, ldxw, mov, mov32, r0, r1, r2, r6, r7, r10, stxdw, bpf_ktime_get_ns];
export const generated = xdp("generated", {
${body.join("\n")}
  end: [exit()],
});
`;
}

/** A program that uses packets, variables, wire values, maps, conditions, switches, loops, stack objects and helpers. */
function language(steps: number): string {
  const body = Array.from({ length: steps }, (_, index) => {
    return `    $.packet.rewind();
    const eth${index} = $.packet.take(ethhdr, pass);
    $.if(eth${index}.h_proto.ne(ETH_P_IP), pass.else);
    const ip${index} = parseIpv4($, pass);
    const udp${index} = $.packet.take(udphdr, pass);
    const sum${index} = $.let(u32, ip${index}.ip.tot_len.toHost());
    $.if(ip${index}.protocol.eq(${index}).and(ip${index}.ip.ttl.gt(1)), () => {
      sum${index}.set(sum${index}.add(ip${index}.ip.saddr.toHost().shr(8)).xor(ip${index}.ip.daddr.raw()));
    })
      .elif(udp${index}.dest.eq(53), () => sum${index}.set(sum${index}.mul(3)))
      .else(() => sum${index}.set(0));
    $.for(4, (turn) => sum${index}.set(sum${index}.add(turn)));
    const key${index} = $.struct(flow, { saddr: ip${index}.ip.saddr, port: udp${index}.dest, hash: sum${index} });
    $.lookup(flows, key${index}, (seen) => {
      $.atomic.add(seen.packets, 1);
      seen.last.set($.bpf_ktime_get_ns());
    }).else(() => $.update(flows, key${index}, { packets: 1, last: 0 }));
    $.switch(ip${index}.ip.tos, [[0, () => undefined], [[1, 2], () => $.printk\`tos \${sum${index}}\`]], () => undefined);
    $.if(sum${index}.has(1 << ${index % 31}), () => $.return(XDP_DROP));`;
  });
  return `import { mapDef } from "../src/asm/index.ts";
import { be16, be32, struct, u16, u32, u64 } from "../src/btf/layout/index.ts";
import { XDP_DROP, XDP_PASS, xdp } from "../src/lang/index.ts";
import { ethhdr, parseIpv4, udphdr } from "../src/lang/net/index.ts";
import { ETH_P_IP } from "../src/uapi/net.ts";
export const used = [XDP_DROP, ethhdr, parseIpv4, udphdr, ETH_P_IP, u16];
const flow = struct("flow", { saddr: be32, port: be16, unused: u16, hash: u32 });
const state = struct("state", { packets: u64, last: u64 });
export const flows = mapDef({ name: "flows", type: "hash", key: flow, value: state, maxEntries: 1024 });
export const generated = xdp("generated", ($) => {
    const pass = { else: () => $.return(XDP_PASS) };
    $.packet.take(ethhdr, pass);
${body.join("\n")}
    return $.return(XDP_PASS);
});
`;
}

function checkTime(text: string): number {
  const { options } = ts.getParsedCommandLineOfConfigFile(
    `${root}tsconfig.json`,
    {},
    {
      ...ts.sys,
      onUnRecoverableConfigFileDiagnostic: (diagnostic) => {
        throw new Error(ts.flattenDiagnosticMessageText(diagnostic.messageText, "\n"));
      },
    },
  ) as ts.ParsedCommandLine;
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists, readFile } = host;
  host.fileExists = (name) => name === file || fileExists(name);
  host.readFile = (name) => (name === file ? text : readFile(name));
  host.getSourceFile = (name, target, ...rest) =>
    name === file ? ts.createSourceFile(name, text, target) : getSourceFile(name, target, ...rest);
  const program = ts.createProgram([file], options, host);
  program.getTypeChecker(); // binds every file: what follows is the checking alone
  const start = process.cpuUsage();
  const [diagnostic] = program.getSemanticDiagnostics(program.getSourceFile(file));
  const { user, system } = process.cpuUsage(start);
  if (diagnostic !== undefined) {
    throw new Error(ts.flattenDiagnosticMessageText(diagnostic.messageText, "\n"));
  }
  return (user + system) / 1_000;
}

function best(text: string): number {
  return Math.min(...Array.from({ length: RUNS }, () => checkTime(text)));
}

function report(what: string, bare: string, full: string): void {
  checkTime(bare); // warms up
  const [least, all] = [best(bare), best(full)];
  console.log(`${what}: ${all.toFixed(0)} ms of CPU time`);
  console.log(`  the same file with next to nothing in it: ${least.toFixed(0)} ms`);
  console.log(`  the checks cost                           ${(all - least).toFixed(0)} ms`);
}

report(`program of ${BLOCKS * 9} instructions`, instructions(1), instructions(BLOCKS));
const lines = language(STEPS).split("\n").length - language(0).split("\n").length;
report(`program of ${lines} lines in the language`, language(0), language(STEPS));
