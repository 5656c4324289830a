import { TsbpfError } from "../../base/error.ts";
import { readCpus } from "../../kernel/cpus.ts";
import { findVethPeer } from "../../kernel/veth.ts";
import { type Link, listLinks } from "../../syscall/rtnetlink.ts";
import { findDevice } from "../sample/preflight.ts";
import { chooseXdpMode } from "../sample/xdp-mode.ts";
import { checkChecksumTrap, readChecksumTrap } from "./device/checksum-trap.ts";
import { checkDriver, readDriver } from "./device/driver.ts";
import { checkMtu, readMtu } from "./device/mtu.ts";
import { checkOffloads, readOffloads } from "./device/offloads.ts";
import { checkQueues, readQueues } from "./device/queues.ts";
import { checkState } from "./device/state.ts";
import { checkSteering, readSteering } from "./device/steering.ts";
import { checkTc, readTc } from "./device/tc-programs.ts";
import { checkXdpSlot, readXdpSlot } from "./device/xdp-slot.ts";
import { type Finding, guard } from "./finding.ts";
import type { Target } from "./target.ts";

/** Where the interfaces are that are looked at. */
export type Surroundings = Pick<Target, "sys" | "route" | "enter">;

/** Looks at everything about an interface that `up` has to do with. Changes nothing; what fails is a finding. */
export function examineDevice(surroundings: Surroundings, name: string): readonly Finding[] {
  const { sys, route } = surroundings;
  let link: Link;
  try {
    link = findDevice(route, name, () => listLinks(route));
  } catch (error) {
    if (!(error instanceof TsbpfError)) throw error;
    const what = error.message.split("\n")[0] ?? "";
    return [
      { level: "fail", check: "exists", what, ...(error.hint === undefined ? {} : { fix: error.hint }) },
    ];
  }
  const target: Target = {
    ...surroundings,
    link,
    peer: findVethPeer(sys, route, link),
    native: chooseXdpMode(sys, route, link, "auto").mode !== "generic",
  };
  const driver = readDriver(target);
  return [
    ...guard("state", () => checkState(target)),
    ...guard("driver", () => checkDriver(driver)),
    ...guard("mtu", () => checkMtu(readMtu(target, driver.features))),
    ...guard("queues", () => checkQueues(readQueues(target, readCpus().online.length))),
    ...guard("steering", () => checkSteering(readSteering(target))),
    ...guard("offloads", () => checkOffloads(readOffloads(target))),
    ...guard("checksum-trap", () => examineChecksums(target)),
    ...guard("xdp", () => checkXdpSlot(readXdpSlot(target))),
    ...guard("tc", () => checkTc(readTc(target))),
  ];
}

/** Only a veth has the trap. */
function examineChecksums(target: Target): readonly Finding[] {
  const facts = readChecksumTrap(target);
  return facts === undefined ? [] : checkChecksumTrap(facts);
}
