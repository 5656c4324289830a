import { pc } from "../colours.ts";
import { openContext } from "../context.ts";
import { row, say, sayJson, warn } from "../output.ts";
import { type CpuMapStatus, type InterfaceStatus, readStatus } from "../sample/status.ts";

/** Options of `status`, as the command line gives them. */
export interface StatusFlags {
  readonly netns?: string;
  readonly bpffs?: string;
  readonly json?: boolean;
}

/** Shows what is up. */
export function status(flags: StatusFlags): void {
  using context = openContext(flags);
  const status = readStatus(context, flags.bpffs);
  if (flags.json === true) {
    sayJson(status);
    return;
  }
  if (status.interfaces.length === 0) say("nothing of ours is up in this network namespace");
  for (const one of status.interfaces) say(...describe(one));
  for (const { path, reason } of status.stalePins)
    warn(`${path} is left over: ${reason}; \`down --all\` removes it`);
}

function describe({ interface: name, xdp, tc, tcBackend, cpuMap, pins }: InterfaceStatus): readonly string[] {
  return [
    pc.bold(name),
    row(
      "XDP",
      xdp === undefined ? pc.yellow("detached by somebody") : `${xdp.name}, ${xdp.mode} ${ids(xdp)}`,
    ),
    ...tc.map((one) => row(`TC ${one.hook}`, `${one.name}, by ${tcBackend} ${ids(one)}`)),
    ...(tc.length === 0 ? [row("TC", tcBackend === "off" ? "off" : pc.yellow("detached by somebody"))] : []),
    ...(cpuMap === undefined ? [] : describeCpuMap(cpuMap)),
    row("pins", pins ?? "none in sight"),
  ];
}

function describeCpuMap({ id, entries }: CpuMapStatus): readonly string[] {
  const lines = entries.map(({ cpu, qsize, progId, thread }) => {
    const program = progId === 0 ? "" : `, program ${progId}`;
    const running = thread === undefined ? pc.yellow("no thread") : `${thread.name} (pid ${thread.pid})`;
    return row("", `core ${cpu}: queue ${qsize}${program}, ${running}`);
  });
  return [row("CPU map", `map ${id}`), ...lines];
}

function ids({ id, tag }: { readonly id: number; readonly tag: string }): string {
  return pc.dim(`(id ${id}, tag ${tag})`);
}
