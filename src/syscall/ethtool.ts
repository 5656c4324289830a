import { LITTLE_ENDIAN } from "../base/host.ts";
import { EOPNOTSUPP } from "../uapi/errno.ts";
import {
  ETHTOOL_GDRVINFO,
  ETHTOOL_GGRO,
  ETHTOOL_GTXCSUM,
  ETHTOOL_SGRO,
  ETHTOOL_STXCSUM,
} from "../uapi/net.ts";
import { ethtool_drvinfo, ethtool_value } from "../uapi/structs.ts";
import { SyscallError } from "./errno.ts";
import { ethtoolCommand } from "./ethtool-command.ts";
import type { Syscalls } from "./syscalls.ts";

/** What a driver says of itself. */
export interface DriverInfo {
  /** `veth`, `virtio_net`, `ixgbe`, ... */
  readonly driver: string;
  readonly version: string;
  readonly busInfo: string;
}

/** The driver of an interface, or `undefined` if it does not say. */
export function driverInfo(sys: Syscalls, ifname: string): DriverInfo | undefined {
  const info = new Uint8Array(ethtool_drvinfo.size);
  new DataView(info.buffer).setUint32(ethtool_drvinfo.cmd, ETHTOOL_GDRVINFO, LITTLE_ENDIAN);
  if (!ethtoolCommand(sys, ifname, "ETHTOOL_GDRVINFO", info)) return undefined;
  return {
    driver: textAt(info, ethtool_drvinfo.driver),
    version: textAt(info, ethtool_drvinfo.version),
    busInfo: textAt(info, ethtool_drvinfo.bus_info),
  };
}

/** Whether the interface leaves transmit checksums to the (possibly virtual) hardware. */
export function txChecksumOffload(sys: Syscalls, ifname: string): boolean | undefined {
  return getValue(sys, ifname, "ETHTOOL_GTXCSUM", ETHTOOL_GTXCSUM);
}

/**
 * Turns transmit checksum offload on or off.
 * @throws `SyscallError`: EPERM without CAP_NET_ADMIN, ENODEV, EOPNOTSUPP.
 */
export function setTxChecksumOffload(sys: Syscalls, ifname: string, on: boolean): void {
  setValue(sys, ifname, "ETHTOOL_STXCSUM", ETHTOOL_STXCSUM, on);
}

/** Whether generic receive offload is on. */
export function gro(sys: Syscalls, ifname: string): boolean | undefined {
  return getValue(sys, ifname, "ETHTOOL_GGRO", ETHTOOL_GGRO);
}

/** Turns generic receive offload on or off; on the peer of a veth it is what makes XDP_TX work. */
export function setGro(sys: Syscalls, ifname: string, on: boolean): void {
  setValue(sys, ifname, "ETHTOOL_SGRO", ETHTOOL_SGRO, on);
}

function getValue(sys: Syscalls, ifname: string, name: string, cmd: number): boolean | undefined {
  const command = valueCommand(cmd, 0);
  if (!ethtoolCommand(sys, ifname, name, command)) return undefined;
  return new DataView(command.buffer).getUint32(ethtool_value.data, LITTLE_ENDIAN) !== 0;
}

function setValue(sys: Syscalls, ifname: string, name: string, cmd: number, on: boolean): void {
  if (!ethtoolCommand(sys, ifname, name, valueCommand(cmd, on ? 1 : 0))) {
    throw new SyscallError(`ioctl(SIOCETHTOOL, ${name})`, EOPNOTSUPP, { dev: ifname, value: on });
  }
}

function valueCommand(cmd: number, value: number): Uint8Array {
  const command = new Uint8Array(ethtool_value.size);
  const view = new DataView(command.buffer);
  view.setUint32(ethtool_value.cmd, cmd, LITTLE_ENDIAN);
  view.setUint32(ethtool_value.data, value, LITTLE_ENDIAN);
  return command;
}

function textAt(bytes: Uint8Array, offset: number): string {
  const end = bytes.indexOf(0, offset);
  return new TextDecoder().decode(bytes.subarray(offset, end < 0 ? undefined : end));
}
