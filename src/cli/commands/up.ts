import { Command, Option } from "commander";
import type { UpFlags } from "../actions/up.ts";
import { INVOCATION } from "../invocation.ts";
import { bpffsOption, jsonOption, netnsOption, wholeNumber } from "../options.ts";
import { QUEUE_SIZE } from "../sample/queue-size.ts";

/** `up <iface...>`: put the sample on interfaces. */
export function upCommand(): Command {
  return new Command("up")
    .summary("put the sample on interfaces; it stays when the command ends")
    .description(
      "Loads the programs, fills the CPU map, and attaches to XDP, TC ingress and TC egress: on all interfaces or on none. " +
        "A second `up` replaces the first without a gap. Somebody else's XDP program is left alone.",
    )
    .argument("<iface...>", "interfaces, such as eth0")
    .option("--cpus <list>", "cores that get an entry in the CPU map, such as 0-3,5 (default: all online)")
    .addOption(
      new Option("--qsize <n>", "packets that the queue to each core holds")
        .argParser(wholeNumber)
        .default(QUEUE_SIZE.default),
    )
    .addOption(
      new Option("--missing <action>", "what becomes of packets on a core without an entry")
        .choices(["pass", "drop"])
        .default("pass"),
    )
    .addOption(
      new Option(
        "--xdp-mode <mode>",
        "where XDP runs; auto is native where the driver has it and no packet is lost by it",
      )
        .choices(["auto", "native", "generic"])
        .default("auto"),
    )
    .addOption(
      new Option("--tc <backend>", "how to attach to TC; auto is the first that works here")
        .choices(["auto", "bpftool", "tcx", "clsact", "off"])
        .default("auto"),
    )
    .option("--no-trace", "load the programs without their log lines")
    .option("--target-program", "run a second XDP program on the core that a packet was handed to")
    .option(
      "--ingress-redirect <iface>",
      "have TC ingress send every packet out of this interface, and none to this machine",
    )
    .option("--force", "replace somebody else's XDP program")
    .option("--dry-run", "say what would be done, and do nothing")
    .option("--foreground", "show the log, and take everything down on Ctrl-C or SIGTERM")
    .addOption(netnsOption())
    .addOption(bpffsOption())
    .addOption(jsonOption())
    .addHelpText("after", EXAMPLES)
    .action(async (interfaces: readonly string[], flags: UpFlags) => {
      const { up } = await import("../actions/up.ts");
      await up(interfaces, flags);
    });
}

const EXAMPLES = `
Examples:
  $ ${INVOCATION} up eth0
  $ ${INVOCATION} up eth0 --cpus 0-1 --qsize 1024 --xdp-mode native
  $ ${INVOCATION} up eth0 --foreground
  $ ${INVOCATION} up eth0 --netns blue --tc tcx`;
