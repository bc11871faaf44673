package snat

import "github.com/google/nftables"

// Handles are the handles of the rules of IPv4 services, by chain.
func Handles() (map[string]uint64, error) {
	rules, err := readRules(nftables.TableFamilyIPv4, tableName, "")
	all := make(map[string]uint64)
	for _, r := range rules {
		if _, ok := parseChain(nftables.TableFamilyIPv4, r.chain); ok {
			all[r.chain] = r.rule
		}
	}
	return all, err
}
