import { Command } from "commander";
import { pc } from "../colours.ts";
import { openContext } from "../context.ts";
import { INVOCATION } from "../invocation.ts";
import { bpffsOption, jsonOption, netnsOption } from "../options.ts";
import { say, sayJson } from "../output.ts";
import { takeDown } from "../sample/down.ts";

interface DownFlags {
  readonly all?: boolean;
  readonly netns?: string;
  readonly bpffs?: string;
  readonly json?: boolean;
}

/** `down <iface...|--all>`: take off what `up` put on. */
export function downCommand(): Command {
  return new Command("down")
    .summary("take off what `up` put on, and nothing else")
    .description(
      "Detaches exactly what tsbpf attached to these interfaces, and removes its pins. Doing it twice is fine.",
    )
    .argument("[iface...]", "interfaces, such as eth0")
    .option("--all", "every interface of this network namespace, and pins that nothing uses any more")
    .addOption(netnsOption())
    .addOption(bpffsOption())
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `\nExamples:\n  $ ${INVOCATION} down eth0\n  $ ${INVOCATION} down --all --netns blue`,
    )
    .action(down);
}

async function down(interfaces: readonly string[], flags: DownFlags, command: Command): Promise<void> {
  if ((flags.all === true) === interfaces.length > 0) {
    command.error("error: name interfaces, or give --all", { exitCode: 2 });
  }
  using context = openContext(flags);
  const downs = await takeDown(context, {
    interfaces: flags.all === true ? undefined : [...new Set(interfaces)],
    bpffs: flags.bpffs,
  });
  if (flags.json === true) {
    sayJson({ down: downs });
    return;
  }
  if (downs.length === 0) say("nothing of ours is here");
  for (const { interface: name, removed } of downs) {
    if (removed.length === 0) say(`${pc.bold(name)}: nothing of ours was there`);
    else say(`${pc.bold(name)}: ${pc.green("down")}, removed`, ...removed.map((line) => `  ${line}`));
  }
}
