package metis.admin;

/** Something that the program cannot start without is missing. */
final class StartException extends Exception {
    private static final long serialVersionUID = 1L;

    StartException(String message) {
        super(message);
    }
}
