// The other one.
struct config {
	int size;
	int colour;
};

struct config config_b = {1, 2};
