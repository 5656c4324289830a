import { Command } from "commander";
import type { DemoFlags } from "../actions/demo.ts";
import { INVOCATION } from "../invocation.ts";
import { jsonOption } from "../options.ts";

/** `demo`: the whole story, without touching a real interface. */
export function demoCommand(): Command {
  return new Command("demo")
    .summary("see it work in network namespaces of its own, without touching a real interface")
    .description(
      "Makes two network namespaces with a veth pair, whose inner end is called eth0, and brings the sample up on it. " +
        "Then sends ping, UDP and TCP through it from every core, shows the log lines, and proves packet by packet that " +
        "the three hooks ran on one core. Ends with exit code 1 where one did not. Leaves nothing behind.",
    )
    .option("--keep", "leave everything up to play with")
    .addOption(jsonOption())
    .addHelpText("after", EXAMPLES)
    .action(async (flags: DemoFlags) => {
      const { demo } = await import("../actions/demo.ts");
      await demo(flags);
    });
}

const EXAMPLES = `
Examples:
  $ ${INVOCATION} demo
  $ ${INVOCATION} demo --keep`;
