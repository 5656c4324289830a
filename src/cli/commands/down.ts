import { Command } from "commander";
import type { DownFlags } from "../actions/down.ts";
import { INVOCATION } from "../invocation.ts";
import { bpffsOption, jsonOption, netnsOption } from "../options.ts";

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
    .action(async (interfaces: readonly string[], flags: DownFlags, command: Command) => {
      if ((flags.all === true) === interfaces.length > 0) {
        command.error("error: name interfaces, or give --all", { exitCode: 2 });
      }
      const { down } = await import("../actions/down.ts");
      await down(interfaces, flags);
    });
}
