package main

import "testing"

func TestQuestions(t *testing.T) {
	got, err := questions([]string{"a/p"}, []string{"10.0.0.1", "10.0.0.2"}, []string{"443", "53/udp"})
	if err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	if s := got[1].String(); s != "a/p 10.0.0.2 53/UDP" {
		t.Error(s)
	}
	for name, lists := range map[string][3][]string{
		"nothing":        {},
		"no port":        {{"a/p"}, {"b/p"}, nil},
		"uneven":         {{"a/p", "b/p"}, {"c/p", "d/p", "e/p"}, {"1"}},
		"port too large": {{"a/p"}, {"b/p"}, {"65536"}},
		"protocol":       {{"a/p"}, {"b/p"}, {"1/HTTP"}},
	} {
		if _, err := questions(lists[0], lists[1], lists[2]); err == nil {
			t.Error(name, "was accepted")
		}
	}
}
