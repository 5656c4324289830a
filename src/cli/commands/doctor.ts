import { Command } from "commander";
import type { DoctorFlags } from "../actions/doctor.ts";
import { INVOCATION } from "../invocation.ts";
import { jsonOption, netnsOption } from "../options.ts";

/** `doctor [iface...]`: find out what would be in the way. */
export function doctorCommand(): Command {
  return new Command("doctor")
    .summary("find out what would be in the way of `up`, and what to do about it")
    .description(
      "Looks at the machine and at the interfaces that are named, and changes nothing. Works without root as far as the " +
        "kernel tells. Exits with 1 if something makes `up` impossible.",
    )
    .argument("[iface...]", "interfaces, such as eth0")
    .addOption(netnsOption())
    .addOption(jsonOption())
    .addHelpText("after", EXAMPLES)
    .action(async (interfaces: readonly string[], flags: DoctorFlags) => {
      const { doctor } = await import("../actions/doctor.ts");
      await doctor(interfaces, flags);
    });
}

const EXAMPLES = `
Examples:
  $ ${INVOCATION} doctor
  $ ${INVOCATION} doctor eth0
  $ ${INVOCATION} doctor eth0 --netns blue --json`;
