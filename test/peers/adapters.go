package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/taskweir/taskweir/test/peers/asynqpeer"
	"github.com/taskweir/taskweir/test/peers/machinerypeer"
	"github.com/taskweir/taskweir/test/peers/nsqpeer"
	"github.com/taskweir/taskweir/test/peers/riverpeer"
	"github.com/taskweir/taskweir/test/peers/system"
	"github.com/taskweir/taskweir/test/peers/taskweir"
)

// adapters are all systems in the order of the report. Bare NSQ with fewer messages in flight is left out: it does less of
// everything than the one with more. So are asynq's default settings without an append-only file: the file changes nothing there.
func adapters() []system.Adapter {
	nsq := []system.Adapter{nsqpeer.Wide(), nsqpeer.Stock()}
	for i := range nsq {
		nsq[i].Transport = true
	}
	asynq := []system.Adapter{asynqpeer.AOF(), asynqpeer.Memory(), asynqpeer.StockAOF()}
	return slices.Concat(taskweir.All(), asynq, riverpeer.All(), machinerypeer.All(), nsq)
}

var errUnknown = errors.New("no such system")

func adapterNamed(name string) (system.Adapter, error) {
	for _, a := range adapters() {
		if a.Name == name {
			return a, nil
		}
	}
	return system.Adapter{}, fmt.Errorf("%w: %q: there are %s", errUnknown, name, strings.Join(names(), ", "))
}

func names() []string {
	var all []string
	for _, a := range adapters() {
		all = append(all, a.Name)
	}
	return all
}

// chosen are the adapters of a comma list of names; empty: all.
func chosen(list string) ([]system.Adapter, error) {
	if list == "" {
		return adapters(), nil
	}
	var some []system.Adapter
	for name := range strings.SplitSeq(list, ",") {
		a, err := adapterNamed(name)
		if err != nil {
			return nil, err
		}
		some = append(some, a)
	}
	return some, nil
}
