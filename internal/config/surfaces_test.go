package config

import (
	"maps"
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
		{Standalone, nil, []string{"goodjob", "serendipity"}, nil},
		{API, []string{"TASKWEIR_SURFACES=serendipity,goodjob", "TASKWEIR_LEGACY_ROOT=serendipity"}, []string{"serendipity", "goodjob"}, []string{"serendipity"}},
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
		"TASKWEIR_SERENDIPITY_CLASSES=SimpleJob":               "no Class=kind",
		"TASKWEIR_SERENDIPITY_CLASSES=a b=k":                   "no Class=kind",
		"TASKWEIR_SERENDIPITY_CLASSES=A=":                      "is not 1 to 64",
		"TASKWEIR_SERENDIPITY_CLASSES=A=K":                     "is not 1 to 64",
		"TASKWEIR_SERENDIPITY_CLASSES=A=k,\\A=l":               "twice",
		"TASKWEIR_SERENDIPITY_TOKEN_LIFE=1s":                   "1m",
	} {
		got := problems(t, Standalone, nil, strings.Split(variable, "\n"))
		if len(got) != 1 || !strings.Contains(got[0].Text, want) {
			t.Errorf("%s: %+v", variable, got)
		}
	}
}

func TestClasses(t *testing.T) {
	got := mustLoad(t, Standalone, nil, []string{`TASKWEIR_SERENDIPITY_CLASSES=\Ns\SimpleJob=simple.job, Report=report`})
	want := map[string]string{`Ns\SimpleJob`: "simple.job", "Report": "report"}
	if !maps.Equal(got.Serendipity.Classes, want) {
		t.Errorf("%v", got.Serendipity.Classes)
	}
}
