package drivers

import (
	"reflect"
	"testing"
)

func TestADriverIsReadBack(t *testing.T) {
	for _, driver := range Default() {
		got, err := Parse(driver.String())
		if err != nil || !reflect.DeepEqual(got, driver) {
			t.Error(driver, got, err)
		}
	}
	for _, text := range []string{"", "a", "a=", "=b"} {
		if _, err := Parse(text); err == nil {
			t.Error(text, "was accepted")
		}
	}
}
