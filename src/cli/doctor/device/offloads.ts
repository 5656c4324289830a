import { gro } from "../../../syscall/ethtool.ts";
import { largeReceiveOffload } from "../../../syscall/ethtool-channels.ts";
import { type Finding, notKnown, type Reading, read } from "../finding.ts";
import { command, type Target } from "../target.ts";

/** The receive offloads that XDP has to do with; `undefined` where the driver does not say. */
export interface OffloadFacts extends Pick<Target, "enter"> {
  readonly name: string;
  readonly lro: Reading<boolean | undefined>;
  readonly gro: Reading<boolean | undefined>;
}

/** Reads them over ethtool. */
export function readOffloads({ sys, link, enter }: Target): OffloadFacts {
  const { name } = link;
  return { name, enter, lro: read(() => largeReceiveOffload(sys, name)), gro: read(() => gro(sys, name)) };
}

/** Judges them: hardware that joins packets does not go with XDP. */
export function checkOffloads(facts: OffloadFacts): readonly Finding[] {
  const { name, lro, gro } = facts;
  const check = "offloads";
  if ("unknown" in lro) return [notKnown(check, `large receive offload of ${name}`, lro.unknown)];
  if (lro.value === true) {
    return [
      {
        level: "warn",
        check,
        what: `large receive offload of ${name} is on: drivers refuse native XDP with it`,
        fix: `Turn it off: ${command(facts, `ethtool -K ${name} lro off`)}`,
      },
    ];
  }
  const rest = "value" in gro && gro.value !== undefined ? `; GRO is ${gro.value ? "on" : "off"}` : "";
  const what = lro.value === undefined ? "not known to its driver" : "off";
  return [{ level: "ok", check, what: `large receive offload of ${name} is ${what}${rest}` }];
}
