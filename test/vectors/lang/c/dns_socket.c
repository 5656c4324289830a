/*
 * Socket filter: keeps the first 128 bytes of DNS over UDP and IPv4, and nothing else. For a packet socket of type
 * SOCK_DGRAM, whose packets begin with the network header.
 */
#include "bpf.h"

#define SNAPLEN 128
#define DNS_PORT 53

int dns_socket(struct __sk_buff *skb)
{
	struct iphdr ip;
	struct udphdr udp;

	if (skb->protocol != bpf_htons(ETH_P_IP))
		return 0;
	if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)))
		return 0;
	if (ip.protocol != IPPROTO_UDP || ip.ihl < 5 || ip.frag_off & bpf_htons(0x1fff))
		return 0;
	if (bpf_skb_load_bytes(skb, ip.ihl * 4, &udp, sizeof(udp)))
		return 0;
	if (udp.source != bpf_htons(DNS_PORT) && udp.dest != bpf_htons(DNS_PORT))
		return 0;
	return SNAPLEN;
}
