import { IFF_LOWER_UP, IFF_UP } from "../../../uapi/net.ts";
import type { Finding } from "../finding.ts";
import { command, type Target } from "../target.ts";

/** What is looked at. */
export type StateFacts = Pick<Target, "enter"> & { readonly link: Pick<Target["link"], "name" | "flags"> };

/** Says whether packets can arrive at all. */
export function checkState(facts: StateFacts): readonly Finding[] {
  const { name, flags } = facts.link;
  const check = "state";
  if ((flags & IFF_UP) === 0) {
    return [
      {
        level: "warn",
        check,
        what: `${name} is down: no packet arrives`,
        fix: `Set it up: ${command(facts, `ip link set ${name} up`)}`,
      },
    ];
  }
  if ((flags & IFF_LOWER_UP) === 0) {
    return [
      {
        level: "warn",
        check,
        what: `${name} is up, but has no carrier: no packet arrives`,
        fix: "Its other end (cable, switch port, veth peer) is missing or down.",
      },
    ];
  }
  return [{ level: "ok", check, what: `${name} is up and has a carrier` }];
}
