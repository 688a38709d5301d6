package config

import (
	"slices"
	"strings"
	"testing"
)

func TestSurfaces(t *testing.T) {
	for _, c := range []struct {
		role    Role
		environ []string
		want    []string
		root    []string
	}{
		{API, nil, nil, nil},
		{API, []string{"TASKWEIR_SURFACES=goodjob", "TASKWEIR_LEGACY_ROOT=goodjob"}, []string{"goodjob"}, []string{"goodjob"}},
		{Standalone, nil, []string{"goodjob"}, nil},
		{Standalone, []string{"TASKWEIR_SURFACES=none"}, nil, nil},
	} {
		environ := c.environ
		if c.role == API {
			environ = append(environ, "TASKWEIR_DATABASE_URL=mysql://a:b@127.0.0.1/c", "TASKWEIR_REDIS_URL=redis://127.0.0.1", "TASKWEIR_NSQ_NSQD=127.0.0.1:1",
				"TASKWEIR_ENCRYPTION_KEY="+sampleKey, "TASKWEIR_CLUSTER_KEY="+sampleKey)
		}
		got := mustLoad(t, c.role, nil, environ)
		if !slices.Equal(got.Surfaces, c.want) || !slices.Equal(got.Legacy.Root, c.root) {
			t.Errorf("%s %v: surfaces %v, at the root %v", c.role, c.environ, got.Surfaces, got.Legacy.Root)
		}
		if got.Legacy.Zone.String() != "Asia/Shanghai" {
			t.Errorf("%s: zone %v", c.role, got.Legacy.Zone)
		}
	}
}

func TestWrongSurfacesAreRefused(t *testing.T) {
	for variable, want := range map[string]string{
		"TASKWEIR_SURFACES=goodjobs":                           `"goodjobs"`,
		"TASKWEIR_SURFACES=goodjob,goodjob":                    "twice",
		"TASKWEIR_LEGACY_ROOT=other":                           `"other"`,
		"TASKWEIR_LEGACY_ZONE=Local":                           "zone of the machine",
		"TASKWEIR_LEGACY_ZONE=Moon/Base":                       `"Moon/Base"`,
		"TASKWEIR_SURFACES=none\nTASKWEIR_LEGACY_ROOT=goodjob": "not among surfaces",
	} {
		got := problems(t, Standalone, nil, strings.Split(variable, "\n"))
		if len(got) != 1 || !strings.Contains(got[0].Text, want) {
			t.Errorf("%s: %+v", variable, got)
		}
	}
}
