// One of two files of a program that have a structure of the same name and mean something else by it.
struct config {
	int size;
};

struct config config_a = {1};

int main(void) { return config_a.size - 1; }
