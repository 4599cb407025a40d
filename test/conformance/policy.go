package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// policy is how the two filters of a batch are set up.
type policy struct {
	name string
	// sessions is the number of the first of its sessions: each policy has its own.
	sessions uint64
	// setup gives the actions and callbacks of a batch. close is always among them: without it a C filter is not told where
	// a session ends, and goes on with the old one's history.
	setup func(*rand.Rand) (actions uint32, callbacks []string)
}

func (p policy) String() string { return p.name }

var allCallbacks = strings.Split("negotiate,connect,unknown,helo,envfrom,envrcpt,data,header,eoh,body,eom,abort,close", ",")

const allActions = 0x1ff

var policies = []policy{
	{"negotiate", 0, func(*rand.Rand) (uint32, []string) { return allActions, allCallbacks }},
	{"default", 1 << 40, defaultSetup},
	{"some", 2 << 40, someSetup},
	{"message", 3 << 40, messageSetup},
}

// defaultSetup leaves the negotiation to libmilter, which closes the connection of an MTA that lacks one of the actions.
func defaultSetup(r *rand.Rand) (uint32, []string) {
	actions := []uint32{allActions, allActions, allActions, 0x3f, 0x11, 0}
	return actions[r.IntN(len(actions))], allCallbacks[1:]
}

// someSetup registers some of the callbacks.
func someSetup(r *rand.Rand) (uint32, []string) {
	percent := 30 + r.IntN(60)
	callbacks := []string{"close"}
	for _, name := range allCallbacks {
		if name != "close" && r.IntN(100) < percent {
			callbacks = append(callbacks, name)
		}
	}
	return r.Uint32N(allActions + 1), callbacks
}

// messageSetup decides once for each mail, in Go by Callbacks.Message.
func messageSetup(r *rand.Rand) (uint32, []string) {
	actions, _ := defaultSetup(r)
	return actions, []string{"message"}
}

func policyByName(name string) (policy, error) {
	i := slices.IndexFunc(policies, func(p policy) bool { return p.name == name })
	if i < 0 {
		return policy{}, fmt.Errorf("there is no policy %q, only negotiate, default, some and message", name)
	}
	return policies[i], nil
}
