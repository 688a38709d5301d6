package taskweir

import (
	"testing"

	"github.com/taskweir/taskweir/test/peers/systemtest"
)

func TestMariaDBDoesWhatAnAdapterMust(t *testing.T) { systemtest.Check(t, MariaDB()) }

func TestDefaultSettingsDoWhatAnAdapterMust(t *testing.T) { systemtest.Check(t, Stock()) }

func TestStandaloneDoesWhatAnAdapterMust(t *testing.T) { systemtest.Check(t, Standalone()) }
